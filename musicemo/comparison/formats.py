"""A comparison as JSON, CSV, Markdown and LaTeX."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Sequence
from typing import Any

from musicemo.comparison.results import Comparison, Difference, Improvement, Row, Score
from musicemo.comparison.words import notes, verdicts
from musicemo.evaluation import TITLES, finite

__all__ = [
    "Table",
    "comparison_csv",
    "comparison_json",
    "comparison_latex",
    "comparison_markdown",
    "interval_text",
    "mean_text",
    "tables",
]


def comparison_json(comparison: Comparison) -> dict[str, Any]:
    """Return the shape that `docs/evaluation.md` describes; what is not defined is null."""
    return {
        "part": comparison.part,
        "confidence": comparison.settings.confidence,
        "resamples": comparison.settings.resamples,
        "experiments": [
            {
                "name": one.name,
                "seeds": one.seeds,
                "folds": one.folds,
                "hashes": list(one.hashes),
                "runs": [str(path) for path in one.directories],
            }
            for one in comparison.experiments
        ],
        "rows": [_row_json(row) for row in comparison.rows],
        "averages": [_row_json(row) for row in comparison.averages],
        "improvements": [
            {
                "experiment": one.experiment,
                "tasks": list(one.tasks),
                "value": finite(one.value),
                "low": finite(one.low),
                "high": finite(one.high),
                "left_out": list(one.left_out),
            }
            for one in comparison.improvements
        ],
        "verdicts": verdicts(comparison),
        "notes": notes(comparison),
    }


def _row_json(row: Row) -> dict[str, Any]:
    return {
        "task": row.task or None,
        "tasks": list(row.tasks),
        "metric": row.metric,
        "higher_is_better": row.higher_is_better,
        "baseline": row.baseline or None,
        "scores": [_score_json(score) for score in row.scores],
    }


def _score_json(score: Score) -> dict[str, Any]:
    found: dict[str, Any] = {
        "experiment": score.experiment,
        "tracks": score.tracks,
        "values": [finite(value) for value in score.values],
        "folds": [finite(value) for value in score.folds],
    }
    for name in ("mean", "deviation", "low", "high", "seeds_low", "seeds_high"):
        found[name] = finite(getattr(score, name))
    found["difference"] = _difference_json(score.difference) if score.difference else None
    return found


def _difference_json(difference: Difference) -> dict[str, Any]:
    numbers = {name: finite(getattr(difference, name)) for name in ("value", "low", "high", "p", "corrected")}
    return {"baseline": difference.baseline, **numbers, "paired": difference.paired}


_COLUMNS = ("task", "metric", "experiment", "seeds", "tracks", "mean", "deviation", "low", "high")
_DIFFERENCE = ("baseline", "value", "low", "high", "p", "corrected", "paired")


def comparison_csv(comparison: Comparison) -> str:
    """Return a row for each task, metric and experiment; the mean over tasks has no task, Delta-m is a metric.

    The columns of a difference are empty for a baseline, and so is what is not defined.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        [*_COLUMNS, *(name if name == "baseline" else f"difference_{name}" for name in _DIFFERENCE)]
    )
    for row in (*comparison.rows, *comparison.averages):
        for score in row.scores:
            numbers = [score.mean, score.deviation, score.low, score.high]
            cells: list[Any] = [row.task, row.metric, score.experiment, len(score.values), score.tracks]
            cells += [_cell(number) for number in numbers]
            if score.difference:
                cells += [_cell(getattr(score.difference, name)) for name in _DIFFERENCE]
            else:
                cells += [""] * len(_DIFFERENCE)
            writer.writerow(cells)
    for one in comparison.improvements:
        empty = [""] * len(_DIFFERENCE)
        writer.writerow(
            [
                "",
                "delta_m",
                one.experiment,
                "",
                "",
                _cell(one.value),
                "",
                _cell(one.low),
                _cell(one.high),
                *empty,
            ]
        )
    return text.getvalue()


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else ""
    return str(value).lower() if isinstance(value, bool) else str(value)


Table = tuple[str, Sequence[str], Sequence[Sequence[str]]]
"""Title, column names and rows; a first cell that is empty repeats the one above."""


def tables(comparison: Comparison) -> list[Table]:
    """Return what is printed, whatever the format."""
    several = any(len(row.scores) > 1 for row in comparison.rows)
    columns = [
        "task",
        "experiment",
        "mean ± deviation [interval]",
        *(["difference [interval]", "p"] if several else []),
    ]
    found: list[Table] = []
    for metric in dict.fromkeys(row.metric for row in comparison.rows):
        rows = [row for row in (*comparison.rows, *comparison.averages) if row.metric == metric]
        arrow = "higher" if rows[0].higher_is_better else "lower"
        found.append((f"{TITLES[metric]} ({arrow} is better)", columns, _cells(rows, several=several)))
    if comparison.improvements:
        lines = [[one.experiment, _percent(one), str(len(one.tasks))] for one in comparison.improvements]
        title = "Relative improvement Δm over the baselines"
        found.append((title, ["experiment", "Δm [interval]", "tasks"], lines))
    return found


def _cells(rows: Sequence[Row], *, several: bool) -> list[list[str]]:
    lines = []
    for row in rows:
        label = row.task or f"mean of {len(row.tasks)}"
        for place, score in enumerate(row.scores):
            line = [
                "" if place else label,
                score.experiment,
                f"{mean_text(score)} {interval_text(score.low, score.high)}",
            ]
            difference = score.difference
            if several and difference:
                line += [
                    f"{_number(difference.value, '+.3f')} {interval_text(difference.low, difference.high, '+.2f')}",
                    _number(difference.corrected) if not difference.corrected < 0.001 else "<0.001",
                ]
            elif several:
                line += ["baseline" if row.baseline == score.experiment else "", ""]
            lines.append(line)
    return lines


def _number(value: float, form: str = ".3f") -> str:
    return f"{value:{form}}" if math.isfinite(value) else "n/a"


def mean_text(score: Score) -> str:
    """Return the mean, and the deviation where there are several seeds."""
    deviation = f" ± {_number(score.deviation)}" if len(score.values) > 1 else ""
    return f"{_number(score.mean)}{deviation}"


def interval_text(low: float, high: float, form: str = ".2f") -> str:
    """Return an interval in brackets."""
    return f"[{_number(low, form)}, {_number(high, form)}]"


def _percent(one: Improvement) -> str:
    low, high = 100 * one.low, 100 * one.high
    return f"{_number(100 * one.value, '+.1f')} % {interval_text(low, high, '+.1f')}"


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


def _markdown(text: str) -> str:
    return text.replace("|", r"\|").replace("_", r"\_").replace("*", r"\*").replace("<", "&lt;")


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
    said = "\n".join(f"% {text}" for text in (*verdicts(comparison), *notes(comparison)))
    return "\n\n".join([*blocks, said]) + "\n"


def _latex_line(cells: Sequence[str]) -> str:
    escape: Callable[[str], str] = lambda cell: "".join(_LATEX.get(sign, sign) for sign in cell)  # noqa: E731
    return " & ".join(escape(cell).replace("-0.", "$-$0.") for cell in cells) + r" \\"
