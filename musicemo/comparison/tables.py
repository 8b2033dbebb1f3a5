"""The tables of a comparison, whatever the format."""

from __future__ import annotations

import math
from collections.abc import Sequence

from musicemo.comparison.results import Comparison, Improvement, Row, Score
from musicemo.evaluation import TITLES

__all__ = ["Table", "interval_text", "mean_text", "tables"]


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
