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
        self._finished = self._total = 0

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.stop()
        if self._total and self._finished == self._total:
            taken = time.monotonic() - self._begin
            self._say(f"Analysed {self._total} songs in {taken:.0f} s; the features are in {self._folder}")

    def __call__(self, finished: int, total: int) -> None:
        """Show that `finished` of `total` songs are done."""
        now = time.monotonic()
        self._finished, self._total = finished, total
        if not finished:
            self._bar.start()
            there = f" ({self._count - total} of {self._count} were there)" if total < self._count else ""
            self._line(f"Analysing {total} songs, once{there}")
            return
        rate = finished / max(now - self._begin, 1e-9)
        self._bar.update(self._task, completed=finished, total=total, rate=f"{rate:.1f} a second")
        if now - self._spoke > _EVERY and finished < total:
            self._spoke = now
            left = (total - finished) / rate
            self._line(f"Analysed {finished} of {total} songs, {rate:.1f} a second, {left:.0f} s left")

    def _line(self, text: str) -> None:
        if not self._console.is_terminal:
            self._say(text)

    def _say(self, text: str) -> None:
        self._console.print(text, markup=False)
