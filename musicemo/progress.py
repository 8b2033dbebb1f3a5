"""Progress of long work on standard error: a bar on a terminal, regular lines elsewhere."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import TypeVar

from musicemo import terminal

__all__ = ["Progress", "duration"]

_T = TypeVar("_T")

#: Seconds between two lines where standard error is no terminal.
_EVERY = 10.0


class Progress:
    """Shows the finished pieces, their rate and the remaining time.

    Args:
        title: Name of the work, such as ``"Making music"``.
        unit: Name of the pieces in the plural, such as ``"clips"``.
    """

    def __init__(self, title: str, unit: str) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, RenderableColumn, TextColumn
        from rich.text import Text

        self._title, self._unit = title, unit
        self._console = terminal.console(stderr=True)
        self._moves = self._console.is_terminal and not self._console.is_dumb_terminal
        self._bar = Progress(
            # Only the title and the bar shrink on a narrow terminal, so that the count and the remaining time stay.
            RenderableColumn(Text(title, no_wrap=True, overflow="ellipsis")),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn(f"{unit}{{task.fields[pace]}}{{task.fields[detail]}}", markup=False),
            console=self._console,
            disable=not self._moves,
            transient=True,
        )
        self._task = self._bar.add_task("", total=None, pace="", detail="")
        self._detail = ""
        self._done, self._total = 0, 0
        self._announced = False
        #: Time and number of the pieces that were finished first: the start of processes does not count for the rate.
        self._first: tuple[float, int] | None = None
        self._begin = self._spoke = time.monotonic()

    def __enter__(self) -> Progress:
        self._bar.start()
        self._begin = self._spoke = time.monotonic()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()
        if kind is None and self._done:
            seconds = time.monotonic() - self._begin
            self._say(f"{self._count(self._done)} in {duration(seconds)}")

    def update(self, done: int, total: int, each: float | None = None, jobs: int = 1) -> None:
        """Show that `done` of `total` pieces are finished.

        Args:
            done: number of finished pieces.
            total: number of all pieces.
            each: mean seconds per piece, for long pieces in parallel: the remaining time then includes pieces
                in progress.
            jobs: number of pieces in parallel.
        """
        now = time.monotonic()
        if done == 0:
            self._begin = self._spoke = now
            self._first = None
        if total and not self._announced:
            self._announced = True
            self._say(self._count(total))
        self._done, self._total = done, total
        pace = ""
        if done and each is not None:
            # Early pieces can be faster than the later ones: those that have not begun still take their time.
            waiting = max(total - done - jobs, 0)
            left = max(total * each / jobs - (now - self._begin), waiting * each / jobs)
            pace = f", {duration(each)} each" + (f", {duration(left)} left" if left >= 1 else "")
        elif done:
            began, before = self._first = self._first or (now, done)
            if now > began and done > before:
                rate = (done - before) / (now - began)
                speed = f"{rate:.1f} a second" if rate >= 0.1 else f"{duration(1 / rate)} each"
                pace = f", {speed}, {duration((total - done) / rate)} left"
        self._bar.update(self._task, completed=done, total=total, pace=pace)
        if now - self._spoke > _EVERY and done < total:
            self._spoke = now
            self._say(f"{done} of {total} {self._unit}{pace}{self._detail}")

    def detail(self, text: str) -> None:
        """Show a text after the count from now on: the progress of the pieces in work. Any thread may call it."""
        self._detail = f", {text}" if text else ""
        self._bar.update(self._task, detail=self._detail)

    def note(self, text: str) -> None:
        """Print a line beside the bar."""
        self._console.print(f"{self._title}: {text}", markup=False, highlight=False)

    @contextlib.contextmanager
    def aside(self) -> Iterator[None]:
        """Remove the bar while other text is printed."""
        self._bar.stop()
        try:
            yield
        finally:
            self._bar.start()

    def watch(self, pieces: Iterable[_T], total: int) -> Iterator[_T]:
        """Yield `pieces`, and show each one as finished when the next one is requested."""
        self.update(0, total)
        for done, piece in enumerate(pieces, start=1):
            yield piece
            self.update(done, total)

    def _count(self, pieces: int) -> str:
        return f"{pieces} {self._unit.removesuffix('s') if pieces == 1 else self._unit}"

    def _say(self, line: str) -> None:
        if not self._moves:
            self._console.print(f"{self._title}: {line}", markup=False)


def duration(seconds: float) -> str:
    """Return a time as text: ``1 h 05 min``, ``2 min 03 s``, ``7 s``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return (
        f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
    )
