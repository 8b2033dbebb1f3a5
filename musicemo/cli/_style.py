"""What the command line's tables have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from musicemo.terminal import visible

__all__ = ["PlainTable", "number", "plain_table", "print_table", "with_interval"]

#: More columns than any table has.
_UNBOUNDED = 10_000

#: Characters of a cell. A longer one is cut in the middle.
_LONGEST = 500


class PlainTable(Table):
    """A table whose cells are plain text: a name with brackets or control characters is shown as it is."""

    def add_row(self, *cells: Any, **options: Any) -> None:
        """Add a row. A cell that has a style is a `rich.text.Text`."""
        super().add_row(*(_plain(cell) for cell in cells), **options)

    def add_column(self, header: Any = "", *more: Any, **options: Any) -> None:
        """Add a column."""
        super().add_column(_plain(header), *more, **options)


def _plain(cell: Any) -> Any:
    return Text(_shorten(visible(cell))) if isinstance(cell, str) else cell


def _shorten(text: str) -> str:
    if len(text) <= _LONGEST:
        return text
    return f"{text[: _LONGEST // 2]}…{text[1 - _LONGEST // 2 :]}"


def plain_table(first: str, *columns: str, title: str | None = None) -> PlainTable:
    """Return a table without lines, so that it fits a terminal of 80 columns; numbers stand to the right."""
    table = PlainTable(
        box=None,
        padding=(0, 2, 0, 0),
        pad_edge=False,
        header_style="bold",
        title=title,
    )
    table.add_column(first, no_wrap=True)
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    return table


def print_table(console: Console, table: Table, *, fold: bool = False) -> None:
    """Print a table in its own width: where a terminal is narrower, it breaks lines, and no number is cut.

    Args:
        console: where to.
        table: the table.
        fold: whether columns that may wrap do, so that the table is as wide as the terminal.
    """
    title, table.title = table.title, None  # which would be wrapped to the width of the table
    if title:
        console.print(title, style="bold", markup=False, soft_wrap=True)
    needed = Measurement.get(console, console.options.update(width=_UNBOUNDED), table)
    width = console.width
    console.width = max(width, needed.minimum if fold else needed.maximum)
    console.print(table, soft_wrap=False)
    console.width = width


def with_interval(metric: Mapping[str, float | None]) -> Text:
    """Return a value and its interval."""
    low, high = (number(metric[bound], 2) for bound in ("low", "high"))
    return Text.assemble(f"{number(metric['value'])} ", (f"[{low}, {high}]", "dim"))


def number(value: float | None, digits: int = 3) -> str:
    """Return a number, or what stands for one that is not defined."""
    return "n/a" if value is None else f"{value:.{digits}f}"
