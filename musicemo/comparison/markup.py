"""A comparison as Markdown and LaTeX."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from musicemo.comparison.results import Comparison
from musicemo.comparison.tables import tables
from musicemo.comparison.words import notes, verdicts
from musicemo.terminal import visible

__all__ = ["comparison_latex", "comparison_markdown"]


def comparison_markdown(comparison: Comparison) -> str:
    """Return the tables and sentences in Markdown."""
    blocks = []
    for title, columns, rows in tables(comparison):
        align = (
            ["---", "---", *["---:"] * (len(columns) - 2)] if columns[0] == "task" else ["---", "---:", "---:"]
        )
        lines = [columns, align, *([_markdown(cell) for cell in row] for row in rows)]
        blocks.append(f"**{title}**\n\n" + "\n".join("| " + " | ".join(line) + " |" for line in lines))
    said = [*verdicts(comparison), *notes(comparison)]
    return "\n\n".join([*blocks, *map(_markdown, said)]) + "\n"


def _line(text: str) -> str:
    return " ".join(visible(text).splitlines())


def _markdown(text: str) -> str:
    return _line(text).replace("|", r"\|").replace("_", r"\_").replace("*", r"\*").replace("<", "&lt;")


_LATEX = {
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": "$<$",
    ">": "$>$",
    "±": r"$\pm$",
    "Δ": r"$\Delta$",
    "ρ": r"$\rho$",
    "²": "$^2$",
}


def comparison_latex(comparison: Comparison) -> str:
    """Return the tables in LaTeX, for the package booktabs; the sentences are comments."""
    blocks = []
    for title, columns, rows in tables(comparison):
        style = "ll" + "r" * (len(columns) - 2) if columns[0] == "task" else "lrr"
        lines = [f"% {title}", f"\\begin{{tabular}}{{{style}}}", "\\toprule", _latex_line(columns), "\\midrule"]
        lines += [_latex_line(row) for row in rows]
        blocks.append("\n".join([*lines, "\\bottomrule", "\\end{tabular}"]))
    said = "\n".join(f"% {_line(text)}" for text in (*verdicts(comparison), *notes(comparison)))
    return "\n\n".join([*blocks, said]) + "\n"


def _latex_line(cells: Sequence[str]) -> str:
    escape: Callable[[str], str] = lambda cell: "".join(_LATEX.get(sign, sign) for sign in _line(cell))  # noqa: E731
    return " & ".join(escape(cell).replace("-0.", "$-$0.") for cell in cells) + r" \\"
