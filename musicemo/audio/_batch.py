"""Extraction from many songs: over all cores, restartable, with a report of what failed."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

from musicemo.audio._analysis import analyse
from musicemo.audio._decode import check_file
from musicemo.audio._files import Source, describe, write_features
from musicemo.audio._recipe import Recipe
from musicemo.errors import InputError, RunError
from musicemo.files import csv_text, write_atomically
from musicemo.workers import Outcome, WorkerDied, run_tasks, unbroken

__all__ = ["ExtractionReport", "Failure", "extract"]

_ABANDONED = 600.0
"""Seconds after which a temporary file has nobody who still writes it; writing takes a moment."""

_Task = tuple[str, str]
"""A song and its feature file; as text, which takes less memory than paths."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A song without features, and why."""

    path: Path
    reason: str


@dataclass(frozen=True, slots=True)
class ExtractionReport:
    """What became of the songs.

    Attributes:
        done: How many were extracted.
        skipped: How many had been, with the same recipe.
        failures: The others, in the order of their paths.
        seconds: How long it took.
    """

    done: int
    skipped: int
    failures: list[Failure]
    seconds: float

    def write_failures(self, path: Path) -> None:
        """Write the failures as a CSV with the columns path and reason; without any, remove what is there.

        Raises:
            RunError: The file cannot be written.
        """
        if not self.failures:
            path.unlink(missing_ok=True)
            return
        rows = ((os.fspath(failure.path), failure.reason) for failure in self.failures)
        content = csv_text([("path", "reason"), *rows]).encode(errors="surrogateescape")

        def write(file: BinaryIO) -> None:
            file.write(content)

        write_atomically(path, write)


def extract(
    sources: Mapping[Path, Path] | Iterable[tuple[Path, Path]],
    recipe: Recipe | None = None,
    *,
    jobs: int | None = None,
    strict: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> ExtractionReport:
    """Write the feature files of many songs, see `write_features`.

    A song is skipped when its feature file has the recipe's fingerprint, and the song has the size and the time of
    change that are recorded there; if only the time differs, the song's hash decides. Everything else, a damaged
    feature file included, is made anew. A feature file is complete or absent, whatever happens.

    A song that fails does not stop the others, even when the process that works on it dies.

    Args:
        sources: Song -> feature file. Folders are made as needed.
        recipe: The parameters; None is the original study's.
        jobs: Processes; None is one for each core, 0 works in this process.
        strict: Whether to stop at the first song that fails.
        progress: Called with how many songs are finished, and how many are to be, skipped ones apart: once before
            the first one, and after each.

    Raises:
        InputError: Two songs have the same feature file; or, if `strict`, a song has failed.
        RunError: A feature file cannot be written, or a process cannot be started.
    """
    begin = time.monotonic()
    recipe = recipe or Recipe()
    pairs = sources.items() if isinstance(sources, Mapping) else sources
    tasks, skipped = _stale(pairs, recipe.fingerprint)
    _sweep(tasks, _ABANDONED)
    done = 0
    failures: list[Failure] = []
    report = progress or (lambda finished, total: None)
    if tasks:
        report(0, len(tasks))
    with contextlib.closing(run_tasks(partial(_extract, recipe=recipe), tasks, jobs)) as outcomes:
        for finished, outcome in enumerate(outcomes, start=1):
            if outcome.error is None:
                done += bool(outcome.value)
                skipped += not outcome.value
            else:
                if isinstance(outcome.error, WorkerDied):
                    _sweep([outcome.task], 0)
                failures.append(_failure(outcome, strict))
            report(finished, len(tasks))
    failures.sort(key=lambda failure: failure.path)
    return ExtractionReport(done, skipped, failures, time.monotonic() - begin)


def _stale(pairs: Iterable[tuple[Path, Path]], fingerprint: str) -> tuple[list[_Task], int]:
    """Return what is to be done, and count what is not."""
    tasks: list[_Task] = []
    skipped = 0
    taken: dict[str, str] = {}
    for source, target in pairs:
        if str(target) in taken:
            other = taken[str(target)]
            if other == str(source):
                continue
            raise InputError(f"{target}: is the feature file of two songs, {other} and {source}")
        taken[str(target)] = str(source)
        if _is_fresh(source, target, fingerprint, hashed=False):
            skipped += 1
        else:
            tasks.append((str(source), str(target)))
    return tasks, skipped


def _sweep(tasks: Iterable[_Task], age: float) -> None:
    """Remove what processes that were killed have left: temporary files beside feature files, `age` seconds old."""
    names: dict[str, set[str]] = {}
    for _, target in tasks:
        folder, name = os.path.split(target)
        names.setdefault(folder or ".", set()).add(name)
    for folder, wanted in names.items():
        with contextlib.suppress(OSError):  # no such folder, or one that writing will say more about
            for entry in os.scandir(folder):
                ours = entry.name.startswith(".") and entry.name[1:].rpartition(".")[0] in wanted
                if ours and time.time() - entry.stat().st_mtime >= age:
                    Path(entry.path).unlink(missing_ok=True)


def _is_fresh(source: Path, target: Path, fingerprint: str, *, hashed: bool) -> bool:
    """Whether a feature file is that of a song and a recipe, by the song's time of change or by its hash."""
    try:
        info = describe(target)
        status = source.stat()
    except (InputError, OSError):
        return False
    known = info.source
    if known is None or info.fingerprint != fingerprint or known.size != status.st_size:
        return False
    if known.modified_ns == status.st_mtime_ns:
        return True
    return hashed and Source.of(source).sha256 == known.sha256


def _extract(task: _Task, recipe: Recipe) -> bool:
    """Write a song's feature file; return False if it was there after all."""
    source, target = map(Path, task)
    check_file(str(source), source)
    if _is_fresh(source, target, recipe.fingerprint, hashed=True):
        return False
    # Its identity is taken before, so that a song which changes meanwhile will be found changed.
    identity = Source.of(source)
    analysis = analyse(source, recipe)
    with unbroken():
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(f"{target.parent}: cannot be made: {error.strerror or error}") from error
        write_features(target, analysis, identity)
    return True


def _failure(outcome: Outcome[_Task, bool], strict: bool) -> Failure:
    """Return why a song failed.

    Raises:
        InputError: The song has failed, and `strict`.
        RunError: It is not the song that is to blame.
    """
    path, error = outcome.task[0], outcome.error
    if isinstance(error, RunError):
        raise error
    if isinstance(error, InputError):
        reason = "; ".join(error.problems).removeprefix(path).removeprefix(":").strip()
    elif isinstance(error, WorkerDied):
        reason = f"the process that analysed it died: {error}"
    elif isinstance(error, MemoryError):
        reason = "needs more memory than there is"
    else:
        reason = f"cannot be analysed: {type(error).__name__}: {error}"
    if strict:
        raise InputError(f"{path}: {reason}") from error
    return Failure(Path(path), reason)
