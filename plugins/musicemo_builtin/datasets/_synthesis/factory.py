"""Fill a store: over the processor's cores, with progress on standard error, resumable."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait

from musicemo.errors import RunError
from musicemo_builtin.datasets._synthesis.store import Record, Store

__all__ = ["fill"]

#: Fewer clips than this are made in this process: starting others would take longer.
_WORTH_STARTING = 6
#: Seconds between two lines where standard error is no terminal.
_EVERY = 10.0


def fill(store: Store, count: int, workers: int | None = None) -> list[Record]:
    """Return the records of the first clips of a store, making those that are not there.

    What is interrupted goes on where it stopped, the next time.

    Args:
        store: Where the clips are.
        count: How many are wanted.
        workers: Processes to make them in; None is one for each core that this process may use.

    Raises:
        RunError: The store's folder cannot be written to, or the disk is full.
    """
    records = {index: store.read(index) for index in range(count)}
    todo = [index for index, record in records.items() if record is None]
    if todo:
        try:
            store.folder.mkdir(parents=True, exist_ok=True)
            _make(store, todo, count, min(workers or _cores(), len(todo)))
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


def _make(store: Store, todo: Sequence[int], count: int, workers: int) -> None:
    left = set(todo)
    with _Progress(len(todo), count) as progress:
        if workers > 1 and len(todo) >= _WORTH_STARTING:
            # A process that dies (killed for its memory, or started from a script that does not guard its
            # main program) breaks the pool; this process then makes what is left.
            with contextlib.suppress(BrokenProcessPool), _pool(workers) as pool:
                futures: dict[Future[None], int] = {pool.submit(store.write, index): index for index in todo}
                for future in as_completed(futures):
                    future.result()
                    left.discard(futures[future])
                    progress.advance()
        for index in sorted(left):
            store.write(index)
            progress.advance()


@contextlib.contextmanager
def _pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    """A pool that an exception, the keyboard's included, ends after the clips in hand."""
    # Fresh processes: forking one in which torch has threads can hang.
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _start)
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _start() -> None:
    """Leave Ctrl-C to the parent, and do not outlive it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_follow_parent, daemon=True).start()


def _follow_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class _Progress:
    """A bar on a terminal, now and then a line elsewhere; on standard error in both cases."""

    def __init__(self, todo: int, count: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self.todo, self.done = todo, 0
        self._console = Console(stderr=True)
        self._title = (
            "Making music" if todo == count else f"Making music ({count - todo} of {count} were there)"
        )
        self._bar = Progress(
            TextColumn(self._title),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("clips, {task.fields[rate]}"),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
            transient=True,
        )
        self._task = self._bar.add_task("", total=todo, rate="")
        self._begin = self._spoke = time.monotonic()

    def __enter__(self) -> _Progress:
        self._bar.start()
        self._say(f"{self._title}: {self.todo} clips, once")
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.stop()
        if self.done == self.todo:
            self._say(f"Made {self.done} clips in {time.monotonic() - self._begin:.0f} s")

    def advance(self) -> None:
        """Count one clip."""
        self.done += 1
        now = time.monotonic()
        rate = self.done / max(now - self._begin, 1e-9)
        self._bar.update(self._task, advance=1, rate=f"{rate:.1f} a second")
        if now - self._spoke > _EVERY and 4 < self.done < self.todo:
            self._spoke = now
            left = (self.todo - self.done) / rate
            self._say(
                f"{self._title}: {self.done} of {self.todo} clips, {rate:.1f} a second, {left:.0f} s left"
            )

    def _say(self, line: str) -> None:
        if not self._console.is_terminal:
            self._console.print(line, highlight=False, soft_wrap=True)
