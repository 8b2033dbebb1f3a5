"""Fill a store: over the processor's cores, with progress on standard error, resumable."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing

from musicemo.errors import RunError
from musicemo.progress import Progress
from musicemo.workers import WorkerDied, run_tasks
from musicemo_builtin.datasets._synthesis.store import Record, Store

__all__ = ["fill"]

#: Fewer clips than this are made in this process: starting others would take longer.
_WORTH_STARTING = 6


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
    records = {index: store.read(index) for index in range(count)}
    todo = [index for index, record in records.items() if record is None]
    if todo:
        try:
            store.folder.mkdir(parents=True, exist_ok=True)
            _make(store, todo, count, workers)
        except OSError as error:
            raise RunError(
                f"{store.folder}: the synthesised music cannot be kept there ({error.strerror or error}); "
                "name another folder with dataset.cache or the environment variable MUSICEMO_CACHE"
            ) from error
        records |= {index: store.read(index) for index in todo}
    missing = [index for index, record in records.items() if record is None]
    if missing:
        raise RunError(f"{store.folder}: clip {missing[0]} was written and cannot be read back")
    return [record for record in records.values() if record is not None]


def _make(store: Store, todo: Sequence[int], count: int, workers: int | None) -> None:
    title = (
        "Making music" if len(todo) == count else f"Making music ({count - len(todo)} of {count} were there)"
    )
    outcomes = run_tasks(store.write, todo, workers if len(todo) >= _WORTH_STARTING else 0)
    with closing(outcomes), Progress(title, "clips") as progress:
        for outcome in progress.watch(outcomes, len(todo)):
            if isinstance(outcome.error, WorkerDied):
                raise RunError(
                    f"{store.folder}: the process that made clip {outcome.task} died: {outcome.error}; "
                    "what is done is kept, and the next time goes on from there"
                )
            if outcome.error is not None:
                raise outcome.error
