"""Fill a store: over the processor's cores, with progress on standard error, resumable."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

from musicemo.errors import RunError
from musicemo.files import exclusive
from musicemo.progress import Progress
from musicemo.workers import WorkerDied, cores, run_tasks
from musicemo_builtin.datasets._synthesis.store import Record, Store

__all__ = ["fill"]

#: Fewer clips than this are made in this process: starting others would take longer.
_WORTH_STARTING = 6

_HINT = "Set another folder with dataset.cache or the environment variable MUSICEMO_CACHE"


def fill(store: Store, count: int, workers: int | None = None) -> list[Record]:
    """Return the records of the first clips of a store, making those that are not there.

    What is interrupted goes on where it stopped, the next time.

    Args:
        store: Where the clips are.
        count: How many are wanted.
        workers: Processes to make them in; None is one for each core that this process may use.

    Raises:
        RunError: The store's folder cannot be written to, or the disk is full, or a process died.
    """
    records = _read(store, range(count))
    todo = [index for index, record in records.items() if record is None]
    if todo:
        try:
            store.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(f"{store.folder}: cannot be created: {error.strerror or error}. {_HINT}") from error
        with exclusive(store.folder):
            todo = [index for index, record in _read(store, todo).items() if record is None]
            if todo:  # otherwise another process has made them in the meantime
                _make(store, todo, count, workers)
        missing = [index for index, record in records.items() if record is None]
        records |= _read(store, missing)
    missing = [index for index, record in records.items() if record is None]
    if missing:
        raise RunError(f"{store.folder}: clip {missing[0]} was written but cannot be read back")
    return [record for record in records.values() if record is not None]


def _read(store: Store, indices: Iterable[int]) -> dict[int, Record | None]:
    with ThreadPoolExecutor(cores()) as threads:  # reading and checksums leave other threads free to work
        indices = list(indices)
        return dict(zip(indices, threads.map(store.read, indices), strict=True))


def _make(store: Store, todo: Sequence[int], count: int, workers: int | None) -> None:
    title = (
        "Composing clips"
        if len(todo) == count
        else f"Composing clips ({count - len(todo)} of {count} are cached)"
    )
    outcomes = run_tasks(store.write, todo, workers if len(todo) >= _WORTH_STARTING else 0)
    with closing(outcomes), Progress(title, "clips") as progress:
        for outcome in progress.watch(outcomes, len(todo)):
            if isinstance(outcome.error, WorkerDied):
                raise RunError(
                    f"{store.folder}: the process that composed clip {outcome.task} died: {outcome.error}. "
                    "Finished clips are kept, and the next attempt continues from there"
                )
            if isinstance(outcome.error, RunError):
                raise RunError(f"{outcome.error}. {_HINT}") from outcome.error
            if outcome.error is not None:
                raise outcome.error
