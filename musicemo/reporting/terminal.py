"""Blocks on a terminal, or as plain text in a file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from rich.measure import Measurement
from rich.table import Table as RichTable
from rich.text import Text as RichText

from musicemo.reporting.blocks import Block, Cell, Facts, Notice, Table, Tables, Text, as_cell
from musicemo.terminal import visible

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["PlainTable", "plain_table", "print_table", "show"]

#: More columns than any table has.
_UNBOUNDED = 10_000

#: Maximum number of characters of a cell. A longer one is cut in the middle.
_LONGEST = 500


def show(console: Console, blocks: Iterable[Block]) -> None:
    """Print texts, notices, facts and tables.

    Charts, code, the notes of tables and everything marked as a detail are left out. An empty line precedes each
    table with a title, and the first of some notices.
    """
    above: type[Block] | None = None
    for block in _shown(blocks):
        begins = block.title if isinstance(block, Table) else isinstance(block, Notice) and above is not Notice
        if above and begins:
            console.print()
        if isinstance(block, Table):
            _print_columns(console, block)
        elif isinstance(block, Facts):
            wide = max(len(name) for name, _ in block.rows)
            for name, value in block.rows:
                console.print(f"{name}:{' ' * (wide - len(name))} {value}", markup=False)
        elif isinstance(block, Text):
            console.print(RichText.assemble((visible(block.lead), "bold"), visible(block.text)))
        elif isinstance(block, Notice):
            console.print(RichText(visible(block.text)))
        above = type(block)


def _shown(blocks: Iterable[Block]) -> Iterator[Block]:
    for block in blocks:
        if isinstance(block, Tables):
            yield from _shown(block.tables)
        elif isinstance(block, Table):
            if block.rows and not block.detail:
                yield block
        elif isinstance(block, Text | Notice) or (isinstance(block, Facts) and block.rows):
            yield block


def _print_columns(console: Console, block: Table) -> None:
    first, *rest = (place for place, column in enumerate(block.headings) if not column.detail)
    step = block.wrap or max(len(rest), 1)
    for start in range(0, max(len(rest), 1), step):
        if start:
            console.print()
        places = [first, *rest[start : start + step]]
        fold = any(block.headings[place].fold for place in places)
        print_table(console, _table(block, places, "" if start else block.title), fold=fold)


def _table(block: Table, places: list[int], title: str) -> PlainTable:
    columns = [block.headings[place] for place in places]
    table = plain_table(block.heading(places[0], narrow=True), title=title or None)
    for place, column in zip(places[1:], columns[1:], strict=True):
        justify = "left" if column.text else "right"
        table.add_column(block.heading(place, narrow=True), justify=justify, no_wrap=not column.fold)
    for row in block.rows:
        table.add_row(
            *(_cell(row[place], brief=column.brief) for place, column in zip(places, columns, strict=True))
        )
    return table


def _cell(cell: Cell, *, brief: bool) -> str | RichText:
    if isinstance(cell, str):
        return cell
    cell = as_cell(cell)
    smaller = " ".join(filter(None, ["" if brief else cell.interval, cell.note]))
    return RichText.assemble(visible(cell.text), (f" {visible(smaller)}", "dim")) if smaller else cell.text


class PlainTable(RichTable):
    """A table whose cells are plain text: a name with brackets or control characters is shown as it is."""

    def add_row(self, *cells: Any, **options: Any) -> None:
        """Add a row. A cell that has a style is a `rich.text.Text`."""
        super().add_row(*(_plain(cell) for cell in cells), **options)

    def add_column(self, header: Any = "", *more: Any, **options: Any) -> None:
        """Add a column."""
        super().add_column(_plain(header), *more, **options)


def _plain(cell: Any) -> Any:
    return RichText(_shorten(visible(cell))) if isinstance(cell, str) else cell


def _shorten(text: str) -> str:
    if len(text) <= _LONGEST:
        return text
    return f"{text[: _LONGEST // 2]}…{text[1 - _LONGEST // 2 :]}"


def plain_table(first: str, *columns: str, title: str | None = None) -> PlainTable:
    """Return a table without lines, which fits a terminal of 80 columns; numbers are aligned to the right."""
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


def print_table(console: Console, table: RichTable, *, fold: bool = False) -> None:
    """Print a table in its own width: a narrower terminal breaks its lines, and no number is cut.

    Args:
        console: Where to print.
        table: The table.
        fold: Whether columns that may wrap do, so that the table is as wide as the terminal.
    """
    title, table.title = table.title, None  # which would be wrapped to the width of the table
    if title:
        console.print(title, style="bold", markup=False, soft_wrap=True)
    needed = Measurement.get(console, console.options.update(width=_UNBOUNDED), table)
    width = console.width
    console.width = max(width, needed.minimum if fold else needed.maximum)
    console.print(table, soft_wrap=False)
    console.width = width
