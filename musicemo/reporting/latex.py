"""Blocks as LaTeX."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from musicemo.reporting.blocks import Block, Cell, Label, Notice, Table, Text, as_cell
from musicemo.terminal import visible

__all__ = ["render"]

_SIGNS = {
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": "$<$",
    ">": "$>$",
    "±": r"$\pm$",
    "→": r"$\to$",
    "Δ": r"$\Delta$",
    "ρ": r"$\rho$",
    "²": "$^2$",
}


def render(blocks: Iterable[Block]) -> str:
    """Return the tables as LaTeX, for the package booktabs. Texts and notices are comments."""
    return "\n\n".join(_rendered(blocks)) + "\n"


def _rendered(blocks: Iterable[Block]) -> Iterator[str]:
    comments: list[str] = []
    for block in blocks:
        if isinstance(block, Table):
            style = "".join("l" if column.text else "r" for column in block.headings)
            head = " & ".join(_escape(block.heading(place)) for place in range(len(block.columns)))
            rows = [f"{' & '.join(map(_cell, row))} \\\\" for row in block.rows]
            title = [f"% {_line(block.title)}"] if block.title else []
            begin = [f"\\begin{{tabular}}{{{style}}}", "\\toprule", f"{head} \\\\", "\\midrule"]
            yield "\n".join([*title, *begin, *rows, "\\bottomrule", "\\end{tabular}"])
        elif isinstance(block, Text):
            comments.append(block.lead + block.text)
        elif isinstance(block, Notice):
            comments.append(block.text)
    if comments:
        yield "\n".join(f"% {_line(comment)}" for comment in comments)


def _cell(cell: Cell) -> str:
    cell = as_cell(cell)
    text = _escape(" ".join(filter(None, [cell.text, cell.interval, cell.note])))
    return text if isinstance(cell, Label) else text.replace("-", "$-$")


def _line(text: str) -> str:
    return " ".join(visible(text).splitlines())


def _escape(text: str) -> str:
    """Return text in one line that LaTeX shows as it is."""
    escaped = "".join(_SIGNS.get(sign, sign) for sign in _line(text))
    return (
        f"{{}}{escaped}" if escaped[:1] in ("[", "*") else escaped
    )  # otherwise an argument of the \\ before it
