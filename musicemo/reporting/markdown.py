"""Blocks as Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from musicemo.reporting.blocks import Block, Cell, Notice, Table, Text, as_cell
from musicemo.terminal import visible

__all__ = ["render"]


def render(blocks: Iterable[Block]) -> str:
    """Return the tables, texts and notices as Markdown."""
    return "\n\n".join(_rendered(blocks)) + "\n"


def _rendered(blocks: Iterable[Block]) -> Iterator[str]:
    for block in blocks:
        if isinstance(block, Table):
            title = f"**{_escape(block.title)}**\n\n" if block.title else ""
            yield title + "\n".join(f"| {' | '.join(line)} |" for line in _lines(block))
        elif isinstance(block, Text):
            yield (f"**{_escape(block.lead)}**" if block.lead else "") + _escape(block.text)
        elif isinstance(block, Notice):
            yield _escape(block.text)


def _lines(table: Table) -> Iterator[list[str]]:
    yield [_escape(table.heading(place)) for place in range(len(table.columns))]
    yield ["---" if column.text else "---:" for column in table.headings]
    for row in table.rows:
        yield [_cell(cell) for cell in row]


def _cell(cell: Cell) -> str:
    cell = as_cell(cell)
    return _escape(" ".join(filter(None, [cell.text, cell.interval, cell.note])))


def _escape(text: str) -> str:
    """Return text in one line that Markdown shows as it is."""
    line = " ".join(visible(text).splitlines())
    line = re.sub(r"([\\`*_|]|\](?=[(\[:]))", r"\\\1", line)
    return line.replace("&", "&amp;").replace("<", "&lt;")
