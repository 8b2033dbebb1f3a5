"""The run directory: ``runs/<name>/<run id>/``, self-contained and written atomically."""

from __future__ import annotations

import contextlib
import fcntl
import warnings
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from musicemo.errors import InputError, RunError
from musicemo.evaluation import Evaluation
from musicemo.files import csv_text, read_json, write_bytes, write_json, write_text

if TYPE_CHECKING:
    from musicemo._local import LocalCode

__all__ = ["RunDirectory", "find_run"]


class RunDirectory:
    """One run on disk; open it in a ``with`` statement, so that no other process writes to it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: IO[str] | None = None

    @classmethod
    def create(cls, runs: Path, name: str, label: str) -> RunDirectory:
        """Make a new folder, named by the time and the label.

        Raises:
            RunError: it cannot be made.
        """
        stamp = datetime.now().astimezone().strftime("%Y%m%d-%H%M%S")
        for suffix in ["", *(f"-{number}" for number in range(2, 1000))]:
            path = runs / name / f"{stamp}-{label}{suffix}"
            try:
                path.mkdir(parents=True)
                (path / "checkpoints").mkdir()
            except FileExistsError:
                continue
            except OSError as error:
                raise RunError(f"{path}: cannot be made: {error.strerror}") from error
            return cls(path)
        raise RunError(f"{runs / name}: a thousand runs began at {stamp}")

    def discard(self) -> None:
        """Remove the folder, which nothing was written to yet."""
        for folder in (self.path / "checkpoints", self.path):
            with contextlib.suppress(OSError):
                folder.rmdir()

    def __enter__(self) -> RunDirectory:
        if not self._acquire():
            raise InputError(f"{self.path}: another process is writing to this run")
        for leftover in [*self.path.glob(".*.*"), *self.path.glob("checkpoints/.*")]:
            if leftover.name != ".lock":
                leftover.unlink()
        return self

    def __exit__(self, *_: object) -> None:
        if self._lock:
            self._lock.close()

    def _acquire(self) -> bool:
        """Take the lock, which the system gives back however the process ends."""
        try:
            self._lock = (self.path / ".lock").open("w")
        except OSError as error:
            raise RunError(f"{self.path / '.lock'}: cannot be written: {error.strerror}") from error
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        self._lock.close()
        return False

    @property
    def in_use(self) -> bool:
        """Whether another process is writing to the run; nothing is written to find out."""
        try:
            with (self.path / ".lock").open() as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:  # nobody has begun to write, or nobody can
            return False
        return False

    @property
    def results(self) -> dict[str, Any]:
        """What `results.json` holds; empty where the run has not got so far."""
        try:
            content = read_json(self.path / "results.json")
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise InputError(f"{self.path / 'results.json'}: cannot be read: {error}") from error
        return content if isinstance(content, dict) else {}

    def write_results(self, results: Mapping[str, Any]) -> None:
        """Write `results.json`."""
        write_json(self.path / "results.json", results)

    def write_start(
        self,
        toml: str,
        environment: Mapping[str, Any],
        split: Mapping[str, Any],
        code: Sequence[LocalCode] = (),
    ) -> None:
        """Write what is known before training, and the files of code that the experiment names."""
        for name, content in {found.kept: found.content for found in code}.items():
            (self.path / name).parent.mkdir(exist_ok=True)
            write_bytes(self.path / name, content)
        write_text(self.path / "experiment.toml", toml)
        write_json(self.path / "environment.json", environment)
        write_json(self.path / "split.json", split)

    def write_predictions(self, parts: Mapping[str, Evaluation]) -> None:
        """Write `predictions.csv`: a line per track, part and task, in the target's own units."""
        rows = [["track", "part", "task", "target", "prediction"]]
        for part, evaluation in parts.items():
            for name, task in evaluation.tasks.items():
                for track, target, prediction in zip(task.ids, task.target, task.prediction, strict=True):
                    shown = [
                        task.classes[value] if task.classes else repr(float(value))
                        for value in (target, prediction)
                    ]
                    rows.append([track, part, name, *shown])
        write_text(self.path / "predictions.csv", csv_text(rows))


def find_run(runs: Path, name: str, fingerprint: str) -> RunDirectory | None:
    """Return the latest run of this very experiment, finished or not, that nobody is writing to.

    Runs whose `results.json` is missing are passed over, since they ended before they began, and so are, with a
    warning, those in which it is damaged.
    """
    for path in sorted((runs / name).glob("*/results.json"), reverse=True):
        directory = RunDirectory(path.parent)
        try:
            recorded = directory.results.get("fingerprint")
        except InputError as error:
            warnings.warn(f"{error}; the run is passed over", stacklevel=2)
            continue
        if recorded == fingerprint and not directory.in_use:
            return directory
    return None
