"""The progress display: live on a terminal, plain lines elsewhere."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar
from rich.table import Table
from rich.text import Text

from musicemo.hookspecs import hookimpl

if TYPE_CHECKING:
    from musicemo.training import Run

__all__ = ["Progress"]

#: Scores in the order of preference: the first one recorded stands for its task.
_LEADING = ("spearman", "accuracy")


class Progress:
    """Shows epoch, losses, the best epoch so far and the time left."""

    def __init__(self) -> None:
        self._console = Console(highlight=False)
        self._live: Live | None = None
        self._bar: Bar | None = None
        self._started = 0.0
        self._first = 0

    @hookimpl
    def musicemo_run_started(self, run: Run) -> None:
        """Say what is trained."""
        sizes = ", ".join(f"{len(indices)} {part}" for part, indices in run.split.parts.items())
        resumed = f", resumed after epoch {len(run.history)}" if run.history else ""
        self._console.print(
            Text.assemble((run.name, "bold"), f": seed {run.seed}, {sizes}, {run.network.parameter_count:,} ")
            + Text(
                f"parameters, {len(run.tasks)} task{'s' if len(run.tasks) > 1 else ''}, on {run.device}{resumed}"
            ),
            soft_wrap=True,
        )
        self._started, self._first = time.monotonic(), len(run.history)
        if self._console.is_terminal:
            self._bar = Bar(
                TextColumn("epoch"),
                MofNCompleteColumn(),
                BarColumn(),
                TextColumn("{task.fields[left]}"),
                TimeElapsedColumn(),
                console=self._console,
            )
            self._bar.add_task("", total=run.epochs, completed=len(run.history), left="")
            self._live = Live(self._display(run), console=self._console, transient=True, refresh_per_second=4)
            self._live.start()

    @hookimpl
    def musicemo_epoch_finished(self, run: Run, record: dict[str, float]) -> None:
        """Show the epoch."""
        if self._live and self._bar:
            self._bar.update(self._bar.task_ids[0], completed=len(run.history), left=self._left(run))
            self._live.update(self._display(run))
        elif self._is_shown(len(run.history)):
            self._console.print(self._line(run, record), soft_wrap=True)

    @hookimpl
    def musicemo_run_finished(self) -> None:
        """Leave the terminal as it was."""
        self._stop()

    @hookimpl
    def musicemo_run_failed(self) -> None:
        """Leave the terminal as it was."""
        self._stop()

    def _stop(self) -> None:
        if self._live:
            self._live.stop()
            self._live = None

    @staticmethod
    def _is_shown(epoch: int) -> bool:
        """Every epoch at first, then ever fewer: a log should stay readable."""
        return epoch <= 10 or epoch % 10 == 0

    def _left(self, run: Run) -> str:
        done = len(run.history) - self._first
        left = (time.monotonic() - self._started) / done * (run.epochs - len(run.history))
        return f"at most {_duration(left)} left"

    def _line(self, run: Run, record: dict[str, float]) -> str:
        parts = [f"epoch {int(record['epoch'])}/{run.epochs}"]
        parts += [
            f"{part} loss {record[f'{part}/loss']:.4f}" for part in ("train", "val") if f"{part}/loss" in record
        ]
        parts += [f"{task} {name} {record[key]:.3f}" for task, name, key in _scores(run, record)]
        return "  ".join([*parts, f"best {_best(run)}", self._left(run)])

    def _display(self, run: Run) -> RenderableType:
        table = Table(box=None, pad_edge=False)
        table.add_column("task")
        for part in ("train", "val"):
            table.add_column(f"{part} loss", justify="right")
            table.add_column(f"{part} score", justify="right")
        record = run.history[-1] if run.history else {}
        for name in [*(task.name for task in run.tasks), ""]:
            cells = []
            for part in ("train", "val"):
                prefix = f"{part}/{name}/" if name else f"{part}/"
                cells.append(_number(record.get(f"{prefix}loss")))
                score = next((record[f"{prefix}{key}"] for key in _LEADING if f"{prefix}{key}" in record), None)
                cells.append(_number(score))
            table.add_row(name or "[dim]total[/dim]", *cells)
        best = Text(f"best epoch so far: {_best(run)}" if run.history else "the first epoch is under way")
        return Group(self._bar or Text(), table, best)


def _scores(run: Run, record: dict[str, float]) -> list[tuple[str, str, str]]:
    found = []
    for task in run.tasks:
        keys = [(part, name) for part in ("val", "train") for name in _LEADING]
        for part, name in keys:
            if f"{part}/{task.name}/{name}" in record:
                found.append((task.name, name, f"{part}/{task.name}/{name}"))
                break
    return found


def _best(run: Run) -> str:
    monitor = run.stopping.monitor
    return f"{run.stopping.best_epoch} ({monitor} {_number(run.stopping.best_value)})"


def _number(value: float | None) -> str:
    return "" if value is None else "n/a" if math.isnan(value) else f"{value:.4f}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return (
        f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
    )
