"""What the command line's tables have in common."""

from __future__ import annotations

from rich.markup import escape
from rich.table import Table

__all__ = ["plain_table"]


def plain_table(first: str, *columns: str, title: str | None = None) -> Table:
    """Return a table without lines, so that it fits a terminal of 80 columns; numbers stand to the right."""
    table = Table(
        box=None,
        padding=(0, 2, 0, 0),
        pad_edge=False,
        header_style="bold",
        title=title,
        title_style="bold",
        title_justify="left",
    )
    table.add_column(escape(first), no_wrap=True)
    for column in columns:
        table.add_column(escape(column), justify="right", no_wrap=True)
    return table
