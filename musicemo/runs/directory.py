"""The run directory: ``runs/<name>/<run id>/``, self-contained and written atomically."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import re
import stat
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from musicemo.errors import InputError, RunError
from musicemo.evaluation import SHARES, SPREAD, Evaluation
from musicemo.files import csv_text, to_json, write_bytes, write_json, write_text

if TYPE_CHECKING:
    from musicemo.components.local import LocalCode

__all__ = ["LinkedRunError", "RunDirectory", "exclusive", "remove_abandoned"]

_LOCK = ".lock"
_ID = re.compile(r"^\d{8}-\d{6}Z?-")

#: Seconds to wait for a lock that a reader may hold for an instant.
_PATIENCE = 2.0

#: Seconds after which a folder that has no results and no writer is that of a process that was killed.
_ABANDONED = 3600.0

#: Files of a run that are written before its results in some version of musicemo.
_FIRST = ("experiment.toml", "environment.json", "split.json", _LOCK)

#: Temporary files of `musicemo.files.write_atomically`.
_TEMPORARY = re.compile(r"^\..+\.[^.]+$")


#: Columns of `distributions.csv` before those of the coverage.
SPREAD_COLUMNS = ("deviation", *SPREAD)


class LinkedRunError(InputError):
    """A run directory contains links, through which other files would be changed."""

    def __init__(self, directory: Path, problem: str) -> None:
        super().__init__(problem)
        self.directory = directory


class RunDirectory:
    """A run directory to write to. Use it in a ``with`` statement, so that no other process writes to it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: int | None = None

    @classmethod
    def create(cls, runs: Path, name: str, label: str) -> RunDirectory:
        """Create a new directory, named for the time in UTC and the label.

        Raises:
            RunError: the directory cannot be created.
        """
        stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%SZ")
        for suffix in ["", *(f"-{number}" for number in range(2, 1000))]:
            path = runs / name / f"{stamp}-{label}{suffix}"
            try:
                path.mkdir(parents=True)
                (path / "checkpoints").mkdir()
            except FileExistsError:
                continue
            except OSError as error:
                raise RunError(f"{path}: cannot be created: {error.strerror}") from error
            return cls(path)
        raise RunError(f"{runs / name}: a thousand runs began at {stamp}")

    def discard(self) -> None:
        """Remove and release the directory of a run that was not started."""
        for name in (_LOCK, "results.json"):
            with contextlib.suppress(OSError):
                (self.path / name).unlink()
        for folder in (self.path / "checkpoints", self.path):
            with contextlib.suppress(OSError):
                folder.rmdir()
        self.release()

    def __enter__(self) -> RunDirectory:
        if self._lock is None and not self.acquire():
            raise InputError(f"{self.path}: another process is writing to this run")
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def acquire(self) -> bool:
        """Acquire the run's lock and return whether it was free. The system releases it when the process ends.

        Raises:
            LinkedRunError: the directory or something in it is a link, through which other files would be changed.
            RunError: the lock cannot be written.
        """
        self._check_links()
        path = self.path / _LOCK
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        try:
            descriptor = os.open(path, flags, 0o666)
        except OSError as error:
            raise RunError(f"{path}: cannot be written: {error.strerror}") from error
        end = time.monotonic() + _PATIENCE
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > end:
                    os.close(descriptor)
                    return False
                time.sleep(0.02)
            except OSError as error:
                os.close(descriptor)
                raise RunError(f"{path}: cannot be locked: {error.strerror}") from error
        self._lock = descriptor
        for folder in (self.path, self.path / "checkpoints"):
            _remove_temporary(folder)
        return True

    def release(self) -> None:
        """Release the lock, so that other processes can write to the run."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _check_links(self) -> None:
        """Raise an error if writing would follow links."""
        links = [self.path] if self.path.is_symlink() else []
        for folder in (self.path, self.path / "checkpoints", self.path / "code"):
            with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as entries:
                links += [Path(entry) for entry in entries if entry.is_symlink()]
        if links:
            raise LinkedRunError(
                self.path,
                f"{links[0]}: is a link, and a run is written in files and folders of its own; replace the link by "
                "what it points to, or start a new run with --no-resume",
            )

    @property
    def in_use(self) -> bool:
        """Whether another process is writing to the run. The check writes nothing."""
        try:
            descriptor = os.open(self.path / _LOCK, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError:  # nobody has begun to write, or nobody can
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
        finally:
            os.close(descriptor)
        return False

    def write_results(self, results: Mapping[str, Any]) -> None:
        """Write `results.json`; values that are not finite become null.

        Raises:
            RunError: the file cannot be written, or a value, which is named, cannot be represented in JSON.
        """
        path = self.path / "results.json"
        try:
            content = to_json(results)
        except (ValueError, OverflowError) as error:
            raise RunError(f"{path}: {error}") from error
        write_json(path, content)

    def write_start(
        self,
        toml: str,
        environment: Mapping[str, Any],
        split: Mapping[str, Any],
        code: Sequence[LocalCode] = (),
    ) -> None:
        """Write the files that exist before training, and the local Python files of the experiment."""
        for name, content in {one.kept: one.content for one in code}.items():
            (self.path / name).parent.mkdir(exist_ok=True)
            write_bytes(self.path / name, content)
        write_text(self.path / "experiment.toml", toml)
        write_json(self.path / "environment.json", environment)
        write_json(self.path / "split.json", split)

    def write_predictions(self, parts: Mapping[str, Evaluation]) -> None:
        """Write `predictions.csv`: one line per track, set and task, in the target's units.

        The cells of tags are JSON objects: tag -> 1 or 0, without unknown ones, and tag -> probability. A line for a
        pair has JSON lists: the ids of the two tracks, the numbers of listeners for whom each is higher, the scores.
        Series are in `series.csv`, with one line per rating and its time in seconds. The probabilities of classes are
        in `probabilities.csv`, as JSON objects: class -> probability.
        """
        rows = [["track", "part", "task", "target", "prediction"]]
        over_time = [["track", "part", "task", "time", "target", "prediction"]]
        of_classes = [["track", "part", "task", "probabilities"]]
        for part, evaluation in parts.items():
            for name, task in evaluation.tasks.items():
                if task.times is not None:
                    for track, *columns in zip(
                        task.ids, *(task.rows(key) for key in ("times", "target", "prediction")), strict=True
                    ):
                        values = zip(*(column.tolist() for column in columns), strict=True)
                        over_time += [[track, part, name, *map(repr, row)] for row in values]
                    continue
                if task.kind == "tags" and task.probabilities is not None:
                    for track, target, probabilities in zip(
                        task.ids, task.target, task.probabilities, strict=True
                    ):
                        pairs = zip(task.classes, target.tolist(), strict=True)
                        truth = {tag: int(value) for tag, value in pairs if value == value}
                        shares = dict(zip(task.classes, probabilities.tolist(), strict=True))
                        rows.append([track, part, name, json.dumps(truth), json.dumps(shares)])
                    continue
                if task.kind == "pairs":
                    for pair, *cells in zip(
                        task.ids, task.target.tolist(), task.prediction.tolist(), strict=True
                    ):
                        rows.append([pair, part, name, *map(json.dumps, cells)])
                    continue
                for track, target, prediction in zip(task.ids, task.target, task.prediction, strict=True):
                    shown = [
                        task.classes[value] if task.classes else repr(float(value))
                        for value in (target, prediction)
                    ]
                    rows.append([track, part, name, *shown])
                if task.kind == "classification" and task.probabilities is not None:
                    for track, probabilities in zip(task.ids, task.probabilities.tolist(), strict=True):
                        cell = json.dumps(dict(zip(task.classes, probabilities, strict=True)))
                        of_classes.append([track, part, name, cell])
        write_text(self.path / "predictions.csv", csv_text(rows))
        if len(over_time) > 1:
            write_text(self.path / "series.csv", csv_text(over_time))
        if len(of_classes) > 1:
            write_text(self.path / "probabilities.csv", csv_text(of_classes))
        self._write_spreads(parts)

    def _write_spreads(self, parts: Mapping[str, Evaluation]) -> None:
        """Write `distributions.csv`, if distributions of ratings are predicted: one line per track, set and task.

        ``deviation`` and ``crps`` are in the units of the ratings. The other columns are shares of the listeners in the
        central intervals with these probabilities.
        """
        rows = [
            [track, part, name, *map(repr, (*scores, *coverage))]
            for part, evaluation in parts.items()
            for name, task in evaluation.tasks.items()
            if (spread := task.spread) is not None
            for track, scores, coverage in zip(
                task.ids,
                zip(*(getattr(spread, name).tolist() for name in SPREAD_COLUMNS), strict=True),
                spread.coverage.tolist(),
                strict=True,
            )
        ]
        if rows:
            header = ["track", "part", "task", *SPREAD_COLUMNS, *map(str, SHARES)]
            write_text(self.path / "distributions.csv", csv_text([header, *rows]))


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Decide inside which run in a folder is whose: one process at a time, for an instant.

    The lock is on the folder itself; on a file system that cannot lock folders, on a file in it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = _lock_folder(folder)
    except OSError as error:
        raise RunError(f"{folder}: cannot be written: {error.strerror}") from error
    try:
        yield
    finally:
        os.close(descriptor)


def _lock_folder(folder: Path) -> int:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError as error:
        os.close(descriptor)
        if error.errno not in (errno.EBADF, errno.EINVAL, errno.ENOTSUP, errno.EISDIR):
            raise
        descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    return descriptor


def remove_abandoned(folder: Path, age: float = _ABANDONED) -> None:
    """Remove the directories of runs whose processes were killed before there was anything to continue.

    Args:
        folder: an experiment's folder.
        age: minimum time in seconds since the last change of the directory.
    """
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in list(entries):
            if not _ID.match(entry.name) or not entry.is_dir(follow_symlinks=False):
                continue
            path = Path(entry)
            with contextlib.suppress(OSError):
                if (path / "results.json").exists() or time.time() - path.stat().st_mtime < age:
                    continue
                names = {inner.name for inner in path.iterdir() if not _TEMPORARY.match(inner.name)}
                if names <= {*_FIRST, "checkpoints"} and not RunDirectory(path).in_use:
                    _remove_temporary(path)
                    (path / "checkpoints").rmdir()  # which holds nothing
                    for name in names - {"checkpoints"}:
                        (path / name).unlink()
                    path.rmdir()


def _remove_temporary(folder: Path) -> None:
    """Remove the temporary files of a killed process."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in list(entries):
            if _TEMPORARY.match(entry.name) and stat.S_ISREG(entry.stat(follow_symlinks=False).st_mode):
                with contextlib.suppress(OSError):
                    Path(entry).unlink()
