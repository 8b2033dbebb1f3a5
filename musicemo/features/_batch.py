"""Extraction of many songs: on all cores, restartable, with a report of failures."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import re
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from musicemo.contracts import Launcher
from musicemo.errors import InputError, RunError
from musicemo.features._blocks import distributes, in_blocks
from musicemo.features._decode import check_file
from musicemo.features._files import FeatureInfo, Source, check_features, write_features, write_outputs
from musicemo.features._recipe import Recipe
from musicemo.features._stream import Stream
from musicemo.features.melchroma import Analysis, analyse
from musicemo.files import csv_text, make_folder, printable, temporary_prefix, write_text
from musicemo.workers import Outcome, WorkerDied, cores, run_tasks, unbroken

__all__ = ["ExtractionReport", "Failure", "extract", "failure_of"]

_ABANDONED = 600.0
"""Seconds after which a temporary file has nobody who still writes it; writing takes a moment."""

_AT_ONCE = 1024
"""Feature files that are checked at once."""

_ADDRESS = re.compile(r"(?: @| at)? 0x[0-9a-f]{6,}")

_OF_ONE_NAME = (errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL, errno.EISDIR)
"""Errors of writing a file that its name or its place alone is the reason of."""

_Task = tuple[str, str]
"""A song and its feature file; as text, which takes less memory than paths."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A song without features, and the reason."""

    path: Path
    reason: str


@dataclass(frozen=True, slots=True)
class ExtractionReport:
    """Result of an extraction.

    Attributes:
        done: Number of songs that were extracted.
        skipped: Number of songs whose features were there, with the same recipe.
        failures: The other songs, in the order of their paths.
        seconds: Duration of the extraction.
    """

    done: int
    skipped: int
    failures: list[Failure]
    seconds: float


def extract(
    sources: Mapping[Path, Path] | Iterable[tuple[Path, Path]],
    recipe: Recipe | Stream | None = None,
    *,
    jobs: int | None = None,
    launcher: Launcher | None = None,
    strict: bool = False,
    failures: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> ExtractionReport:
    """Write the feature files of many songs; see `write_features`.

    A song is skipped if its feature file is undamaged, has the recipe's fingerprint, and records the song's path, size
    and times. If one of these differs, the SHA-256 of the song decides. All other feature files are computed again. A
    feature file is always complete or absent.

    A song that fails does not stop the others. This holds for errors of any type, and for the death of the process that
    works on the song.

    Args:
        sources: Song -> feature file. Folders are created as needed.
        recipe: The parameters; by default those of the original study. A stream writes the outputs of its extractor;
            see `write_outputs`.
        jobs: Number of processes; None is one per core, 0 works in this process.
        launcher: Executes blocks of songs elsewhere, each in one process at a time, instead of `jobs` processes here.
        strict: Whether to stop at the first song that fails.
        failures: CSV file for the failures, with the columns `path` and `reason`, sorted by path. It is written
            however the extraction ends, and has only its header if no song failed.
        progress: Called with the number of finished songs and the total number, without skipped songs: once before
            the first one, and after each.

    Raises:
        InputError: Two songs have the same feature file; or, if `strict`, a song has failed.
        RunError: A feature file cannot be written, or a process cannot be started.
    """
    begin = time.monotonic()
    recipe = recipe or Recipe()
    if isinstance(recipe, Stream) and hasattr(recipe.extractor, "device"):
        jobs = 0
    pairs = _distinct(sources.items() if isinstance(sources, Mapping) else sources)
    failed: list[Failure] = []
    try:
        tasks = _stale(pairs, _fingerprint(recipe))
        skipped = len(pairs) - len(tasks)
        _sweep(tasks, _ABANDONED)
        done = 0
        report = progress or (lambda finished, total: None)
        if tasks:
            report(0, len(tasks))
        if launcher is not None and distributes(launcher):
            finished = 0
            with contextlib.closing(
                in_blocks(partial(_extract_block, recipe=recipe), tasks, recipe, launcher)
            ) as blocks:
                for block in blocks:
                    part = _result(block, _fingerprint(recipe))
                    done, skipped = done + part.done, skipped + part.skipped
                    failed += part.failures
                    if strict and failed:
                        raise InputError(f"{failed[-1].path}: {failed[-1].reason}") from block.error
                    report(finished := finished + len(block.task), len(tasks))
            tasks = []
        with contextlib.closing(run_tasks(partial(_extract, recipe=recipe), tasks, jobs)) as outcomes:
            for finished, outcome in enumerate(outcomes, start=1):
                if outcome.error is None:
                    done += bool(outcome.value)
                    skipped += not outcome.value
                elif isinstance(outcome.error, RunError):  # the song is not to blame
                    raise outcome.error
                else:
                    if isinstance(outcome.error, WorkerDied):
                        _sweep([outcome.task], 0)
                    failed.append(failure_of(outcome.task[0], outcome.error))
                    if strict:
                        raise InputError(f"{failed[-1].path}: {failed[-1].reason}") from outcome.error
                report(finished, len(tasks))
    except BaseException:
        with contextlib.suppress(RunError):  # the first error is the one to report
            _write_failures(failures, failed)
        raise
    _write_failures(failures, failed)
    return ExtractionReport(done, skipped, sorted(failed, key=_path), time.monotonic() - begin)


def _extract_block(tasks: list[_Task], recipe: Recipe | Stream) -> ExtractionReport:
    """Write the feature files of a block of songs, in a process beside this one, which a song may crash."""
    return extract([(Path(source), Path(target)) for source, target in tasks], recipe, jobs=1)


def _result(block: Outcome[list[_Task], ExtractionReport], fingerprint: str) -> ExtractionReport:
    """Return the report of a block; of one whose process was lost too often, its songs without features have failed.

    Raises:
        Exception: The songs are not to blame.
    """
    if block.value is not None:
        return block.value
    assert block.error is not None
    if not isinstance(block.error, WorkerDied):
        raise block.error
    _sweep(block.task, 0)
    lost = _stale(block.task, fingerprint)
    return ExtractionReport(
        len(block.task) - len(lost), 0, [failure_of(song, block.error) for song, _ in lost], 0.0
    )


def failure_of(song: str | os.PathLike[str], error: BaseException, doing: str = "analyzed") -> Failure:
    """Return the reason why a song failed, in the same words each time.

    Args:
        song: The song's path.
        error: The error that working on the song raised.
        doing: The work, as a participle.
    """
    path = os.fspath(song)
    if isinstance(error, InputError):
        reason = "; ".join(error.problems).removeprefix(path).removeprefix(":").strip()
    elif isinstance(error, WorkerDied):
        reason = f"the process that {doing} it died: {error}"
    elif isinstance(error, MemoryError):
        reason = "needs more memory than is available"
    elif isinstance(error, OSError):
        reason = f"cannot be {doing}: {error.strerror or error}"
    else:
        reason = f"cannot be {doing}: {type(error).__name__}: {error}"
    # Decoders name their objects by their places in memory, which are others each time.
    return Failure(Path(song), _ADDRESS.sub("", reason))


def _path(failure: Failure) -> Path:
    return failure.path


def _write_failures(path: Path | None, failures: list[Failure]) -> None:
    if path is None:
        return
    make_folder(path.parent)
    rows = [(printable(failure.path), printable(failure.reason)) for failure in sorted(failures, key=_path)]
    write_text(path, csv_text([("path", "reason"), *rows]))


def _distinct(pairs: Iterable[tuple[Path, Path]]) -> list[_Task]:
    """Return the songs and their feature files, each pair once.

    Raises:
        InputError: Two songs have one feature file.
    """
    songs: dict[str, str] = {}
    for source, target in pairs:
        song = songs.setdefault(str(target), str(source))
        if song != str(source):
            raise InputError(f"{target}: is the feature file of two songs, {song} and {source}")
    return [(source, target) for target, source in songs.items()]


def _stale(pairs: list[_Task], fingerprint: str) -> list[_Task]:
    """Return the songs whose feature files are to be made, or at least compared by the songs' hashes."""

    def fresh(task: _Task) -> bool:
        info = _whole(Path(task[1]), fingerprint)
        with contextlib.suppress(OSError):
            return info is not None and info.source is not None and info.source.is_at(Path(task[0]))
        return False

    tasks: list[_Task] = []
    left = iter(pairs)
    with ThreadPoolExecutor(2 * cores()) as threads:  # reading and checksums leave other threads free to work
        while some := list(itertools.islice(left, _AT_ONCE)):
            tasks += [task for task, skip in zip(some, threads.map(fresh, some), strict=True) if not skip]
    return tasks


def _sweep(tasks: Iterable[_Task], age: float) -> None:
    """Remove what processes that were killed have left: temporary files beside feature files, `age` seconds old."""
    prefixes: dict[str, set[str]] = {}
    for _, target in tasks:
        folder, name = os.path.split(target)
        prefixes.setdefault(folder or ".", set()).add(temporary_prefix(name))
    for folder, wanted in prefixes.items():
        with contextlib.suppress(OSError):  # no such folder, or one that writing will say more about
            for entry in os.scandir(folder):
                ours = entry.name.startswith(".") and f"{entry.name.rpartition('.')[0]}." in wanted
                if ours and time.time() - entry.stat().st_mtime >= age:
                    Path(entry.path).unlink(missing_ok=True)


def _whole(target: Path, fingerprint: str) -> FeatureInfo | None:
    """Return the description of a feature file that is undamaged and of a recipe; None if it is not."""
    try:
        info = check_features(target)
    except InputError:
        return None
    return info if info.fingerprint == fingerprint else None


def _fingerprint(recipe: Recipe | Stream) -> str:
    return recipe.key if isinstance(recipe, Stream) else recipe.fingerprint


def _extract(task: _Task, recipe: Recipe | Stream) -> bool:
    """Write a song's feature file; return False if it was there after all."""
    source, target = map(Path, task)
    check_file(str(source), source)
    info = _whole(target, _fingerprint(recipe))
    if info is not None and info.source is not None and info.source.renewed(source) is not None:
        return False
    # Its identity is taken before, so that a song which changes meanwhile will be found changed.
    identity = Source.of(source)
    analysis = recipe.compute(source) if isinstance(recipe, Stream) else analyse(source, recipe)
    with unbroken():
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(analysis, Analysis):
                write_features(target, analysis, identity)
            else:
                assert isinstance(recipe, Stream)
                write_outputs(target, analysis.values, analysis.edges, recipe.to_table(), recipe.key, identity)
        except OSError as error:
            problem, cause = RunError(f"{target.parent}: cannot be created: {error.strerror or error}"), error
            raise _blamed(problem, cause) from error
        except RunError as error:
            raise _blamed(error, error.__cause__) from error
    return True


def _blamed(problem: RunError, cause: BaseException | None) -> RunError | InputError:
    """Return an error that stops all songs, or, where other feature files may well be written, that of one song."""
    if isinstance(cause, OSError) and cause.errno in _OF_ONE_NAME:
        return InputError(f"its features cannot be kept: {problem}")
    return problem
