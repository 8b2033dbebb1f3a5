"""How far the analysis of songs is, on standard error: a bar on a terminal, now and then a line elsewhere."""

from __future__ import annotations

import time
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

__all__ = ["Progress"]

#: Seconds between two lines where standard error is no terminal.
_EVERY = 10.0


class Progress:
    """A context manager; called with how many songs are finished, and how many are to be.

    Args:
        count: How many songs the dataset has.
        folder: Where the features are kept.
    """

    def __init__(self, count: int, folder: Path) -> None:
        self._count, self._folder = count, folder
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._bar = Bar(
            TextColumn("Analysing songs"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
            transient=True,
        )
        self._task = self._bar.add_task("", rate="")
        self._begin = self._spoke = time.monotonic()
        self._total = 0

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.stop()

    def end(self, done: int) -> None:
        """Say that this is all, and how many could be analysed."""
        self._bar.stop()
        if self._total:
            count = _songs(self._total) if done == self._total else f"{done} of {_songs(self._total)}"
            taken = time.monotonic() - self._begin
            self._say(f"Analysed {count} in {taken:.0f} s; the features are in {self._folder}")

    def __call__(self, finished: int, total: int) -> None:
        """Show that `finished` of `total` songs are done."""
        now = time.monotonic()
        self._total = total
        if not finished:
            self._bar.update(self._task, total=total)
            self._bar.start()
            there = f" ({self._count - total} of {self._count} were there)" if total < self._count else ""
            self._line(f"Analysing {_songs(total)}, once{there}")
            return
        rate = finished / max(now - self._begin, 1e-9)
        self._bar.update(self._task, completed=finished, rate=f"{rate:.1f} a second")
        if now - self._spoke > _EVERY and finished < total:
            self._spoke = now
            left = (total - finished) / rate
            self._line(f"Analysed {finished} of {_songs(total)}, {rate:.1f} a second, {left:.0f} s left")

    def _line(self, text: str) -> None:
        if not self._console.is_terminal:
            self._say(text)

    def _say(self, text: str) -> None:
        self._console.print(text, markup=False)


def _songs(count: int) -> str:
    return f"{count} song{'s' if count != 1 else ''}"
