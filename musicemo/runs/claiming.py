"""Assignment of runs to processes: a run is found, continued or started by one process at a time."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from musicemo.errors import InputError, MusicemoError
from musicemo.runs.directory import RunDirectory, exclusive, remove_abandoned
from musicemo.runs.reading import INTERRUPTED, RunRecord, open_run

__all__ = ["Claim", "RunInUseError", "claim_run", "earlier_runs", "find_run", "record_death"]

_log = logging.getLogger(__name__)

#: Keys of `results.json` by which a run is found.
_HEAD = (
    *("status", "name", "seed", "fold", "fingerprint", "identity", "started", "process", "launch"),
    *("inner_fold", "overfit_batches", "search", "stopped"),
)

_PARTS = ("train", "val", "test")

#: `results.json` -> its size, time of change and inode, and the head of it: a sweep looks for each of its runs.
_HEADS: dict[Path, tuple[tuple[int, ...], RunRecord]] = {}


class RunInUseError(MusicemoError):
    """Another process is training the run."""

    def __init__(self, record: RunRecord) -> None:
        process = record.results.get("process") or {}
        by = f"process {process['pid']} on {process['host']}" if process else "another process"
        super().__init__(f"{record.directory}: {by} is training this run, so it is skipped here")


@dataclass(frozen=True)
class Claim:
    """A run that this process executes; its directory is locked."""

    directory: RunDirectory
    results: Mapping[str, Any]
    #: The run as it was, if it is continued.
    earlier: RunRecord | None = None

    def give_up(self, error: BaseException) -> None:
        """Record that the run cannot be continued, and release it for other processes."""
        self.directory.write_results({**self.results, "status": "failed", "error": str(error)})
        self.directory.release()


def earlier_runs(folder: Path) -> list[RunRecord]:
    """Return short records of the runs in an experiment's folder, in the order in which they were started.

    Runs whose `results.json` is damaged are left out with a warning.
    """
    records = []
    for path in sorted(folder.glob("*/results.json")):
        try:
            about = path.stat()
            now = (about.st_size, about.st_mtime_ns, about.st_ctime_ns, about.st_ino)
            if path not in _HEADS or _HEADS[path][0] != now:
                record = open_run(path.parent)
                head = {name: record.results[name] for name in _HEAD if name in record.results}
                _HEADS[path] = now, RunRecord(path.parent, head)
            records.append(RunRecord(path.parent, _HEADS[path][1].results))
        except FileNotFoundError:
            continue
        except (OSError, InputError) as error:
            _log.warning(f"{error}. The run is ignored")
    return sorted(records, key=lambda record: record.order)


def find_run(
    folder: Path, fingerprint: str, excluded: Collection[Path] = (), launch: str | None = None
) -> RunRecord | None:
    """Return the run with a fingerprint: the latest finished run, otherwise the latest one that can be continued.

    A run that a lifecycle plugin stopped is continued, also if it was evaluated: without the plugin, it would have
    another outcome.

    Args:
        folder: the experiment's folder.
        fingerprint: see `RunIdentity`.
        excluded: directories of runs that cannot be continued.
        launch: only the run that a launch with this token began.

    Raises:
        RunInUseError: no run is finished, and another process is training one.
    """
    same = [
        record
        for record in earlier_runs(folder)
        if record.results.get("fingerprint") == fingerprint and launch in (None, record.results.get("launch"))
    ]
    for record in reversed(same):
        if record.finished:
            whole = open_run(record.directory)
            if any(whole.metrics.get(part) for part in _PARTS):
                return whole
            _log.warning(f"{record.directory / 'results.json'}: metrics: is missing or empty")
    unfinished = [record for record in reversed(same) if not record.finished]
    for record in unfinished:
        if record.in_use:
            raise RunInUseError(record)
    return next((open_run(one.directory) for one in unfinished if one.directory not in excluded), None)


def claim_run(
    runs: Path,
    name: str,
    label: str,
    head: Mapping[str, Any],
    *,
    resume: bool,
    excluded: Collection[Path] = (),
) -> Claim | RunRecord:
    """Claim a run that can be continued, or start a new one. Return a finished run as it is.

    The decision is made and recorded under a lock on the folder: if several processes ask for the same run, one of them
    executes it.

    Args:
        runs: the folder of run directories.
        name: name of the experiment.
        label: end of the name of the run directory.
        head: ``fingerprint``, ``seed`` and so on, for `results.json`.
        resume: whether to look for any run with the same fingerprint. Otherwise only the run that the same launch began
            is continued, whose worker was lost.
        excluded: directories of runs that cannot be continued.

    Raises:
        RunInUseError: another process is training the run.
        LinkedRunError: the run to be continued contains links.
        RunError: the directory cannot be written.
    """
    folder = runs / name
    process = {"pid": os.getpid(), "host": socket.gethostname()}
    with exclusive(folder):
        remove_abandoned(folder)
        launch = head.get("launch")
        earlier = (
            find_run(folder, head["fingerprint"], excluded, None if resume else launch)
            if resume or launch
            else None
        )
        if earlier and earlier.finished:
            return earlier
        if earlier:
            directory = RunDirectory(earlier.directory)
            if not directory.acquire():
                raise RunInUseError(earlier)
            started = earlier.results.get("started") or _text(earlier.started)
        else:
            directory = RunDirectory.create(runs, name, label)
            directory.acquire()
            started = None
        results = {
            **({key: value for key, value in earlier.results.items() if key != "stopped"} if earlier else {}),
            **head,
            "status": "running",
            "started": started or _text(datetime.now(UTC)),
            "process": process,
        }
        try:
            directory.write_results(results)
        except BaseException:
            if earlier:
                directory.release()
            else:
                directory.discard()
            raise
    return Claim(directory, results, earlier)


def record_death(folder: Path, seed: int, fold: int | None, error: str) -> None:
    """Mark the runs of a seed and fold as failed after their process was killed."""
    for head in earlier_runs(folder):
        if head.status != INTERRUPTED or (head.seed, head.fold) != (seed, fold):
            continue
        directory = RunDirectory(head.directory)
        with exclusive(folder):
            if not directory.acquire():
                continue
            with directory:
                results = dict(open_run(head.directory).results)
                results.pop("process", None)
                directory.write_results({**results, "status": "failed", "error": error})


def _text(time: datetime | None) -> str | None:
    if time is None:
        return None
    return time.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
