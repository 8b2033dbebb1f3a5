"""What the command line's tables have in common."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table

__all__ = ["number", "plain_table", "print_table", "with_interval"]

#: More columns than any table has.
_UNBOUNDED = 10_000


def plain_table(first: str, *columns: str, title: str | None = None) -> Table:
    """Return a table without lines, so that it fits a terminal of 80 columns; numbers stand to the right."""
    table = Table(
        box=None,
        padding=(0, 2, 0, 0),
        pad_edge=False,
        header_style="bold",
        title=title,
    )
    table.add_column(escape(first), no_wrap=True)
    for column in columns:
        table.add_column(escape(column), justify="right", no_wrap=True)
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


def with_interval(metric: Mapping[str, float | None]) -> str:
    """Return a value and its interval, as markup."""
    low, high = (number(metric[bound], 2) for bound in ("low", "high"))
    return f"{number(metric['value'])} [dim]{escape(f'[{low}, {high}]')}[/dim]"


def number(value: float | None, digits: int = 3) -> str:
    """Return a number, or what stands for one that is not defined."""
    return "n/a" if value is None else f"{value:.{digits}f}"
