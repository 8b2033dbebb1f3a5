"""What the progress display shows."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar
from rich.table import Table
from rich.text import Text

from musicemo import terminal
from musicemo.evaluation import SHORT_TITLES
from musicemo.progress import duration

if TYPE_CHECKING:
    from musicemo.training import Run

__all__ = ["Display"]

#: Scores in the order of preference: the first one recorded stands for its task.
_LEADING = ("spearman", "accuracy", "pr_auc", "song_pearson")


class Display:
    """A live table with a bar on a terminal, plain lines elsewhere."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._console = terminal.console(soft_wrap=False)
        self._moves = self._console.is_terminal and not self._console.is_dumb_terminal
        self._started, self._first = time.monotonic(), len(run.history)
        self._bar = Bar(
            TextColumn("epoch"),
            MofNCompleteColumn(),
            BarColumn(),
            TextColumn("{task.fields[left]}"),
            TimeElapsedColumn(),
            console=self._console,
        )
        self._bar.add_task("", total=run.epochs, completed=self._first, left="")
        #: Whether the model is fitted in one go: it has no epochs.
        self._fitted = not run.network.parameter_count
        self._live = Live(console=self._console, transient=True, refresh_per_second=4)
        self._introduce()
        if self._moves:
            self._live.start()
            self._live.update(self._table())

    def show(self, record: dict[str, float]) -> None:
        """Show an epoch."""
        done = len(self._run.history)
        if self._moves:
            self._bar.update(self._bar.task_ids[0], completed=done, left=self._left())
            self._live.update(self._table())
        elif done <= 10 or done % 10 == 0:  # every epoch at first, then ever fewer: a log should stay readable
            self._console.print(self._line(record), markup=False, soft_wrap=True)

    def stop(self) -> None:
        """Leave the terminal as it was."""
        self._live.stop()

    def _introduce(self) -> None:
        run = self._run
        sizes = ", ".join(f"{len(indices)} {part}" for part, indices in run.split.parts.items())
        tasks = f"{len(run.tasks)} task{'s' if len(run.tasks) > 1 else ''}"
        parameters = "" if self._fitted else f"{run.network.parameter_count:,} parameters, "
        text = f": seed {run.seed}, {sizes}, {parameters}{tasks}, on {run.device}"
        if run.transfer:
            counts = ", ".join(f"{len(run.transfer[what])} {what}" for what in ("loaded", "new", "frozen"))
            text += f", beginning with {run.transfer['from']} ({counts})"
        resumed = f", resumed after epoch {self._first}" if self._first else ""
        self._console.print(Text.assemble((run.name, "bold"), text, resumed), soft_wrap=True)

    def _left(self) -> str:
        done = len(self._run.history) - self._first
        left = (time.monotonic() - self._started) / done * (self._run.epochs - len(self._run.history))
        return f"at most {duration(left)} left"

    def _line(self, record: dict[str, float]) -> str:
        parts = ["fitted" if self._fitted else f"epoch {int(record['epoch'])}/{self._run.epochs}"]
        parts += [
            f"{part} loss {record[f'{part}/loss']:.4f}" for part in ("train", "val") if f"{part}/loss" in record
        ]
        parts += [
            f"{task} {SHORT_TITLES[name]} {_number(record[key])}"
            for task, name, key in _scores(self._run, record)
        ]
        return "  ".join(parts if self._fitted else [*parts, f"best {_best(self._run)}", self._left()])

    def _table(self) -> RenderableType:
        run = self._run
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
            table.add_row(Text(terminal.visible(name)) if name else Text("total", style="dim"), *cells)
        if self._fitted:
            return Group(table, Text("fitted" if run.history else "the model is being fitted"))
        best = Text(f"best epoch so far: {_best(run)}" if run.history else "the first epoch is under way")
        return Group(self._bar, table, best)


def _scores(run: Run, record: dict[str, float]) -> list[tuple[str, str, str]]:
    columns = []
    for task in run.tasks:
        keys = [(part, name) for part in ("val", "train") for name in _LEADING]
        for part, name in keys:
            if f"{part}/{task.name}/{name}" in record:
                columns.append((task.name, name, f"{part}/{task.name}/{name}"))
                break
    return columns


def _best(run: Run) -> str:
    monitor = run.stopping.monitor
    return f"{run.stopping.best_epoch} ({monitor} {_number(run.stopping.best_value)})"


def _number(value: float | None) -> str:
    return "" if value is None else "n/a" if math.isnan(value) else f"{value:.4f}"
