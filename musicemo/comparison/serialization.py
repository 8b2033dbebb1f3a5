"""A comparison as JSON and CSV."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from musicemo.comparison.results import Comparison, Row
from musicemo.comparison.words import notes, verdicts
from musicemo.evaluation import finite
from musicemo.files import csv_text

__all__ = ["comparison_csv", "comparison_json"]


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
        "improvements": [_json(dataclasses.asdict(one)) for one in comparison.improvements],
        "verdicts": verdicts(comparison),
        "notes": notes(comparison),
    }


def _row_json(row: Row) -> dict[str, Any]:
    own = {"task": row.task or None, "higher_is_better": row.higher_is_better, "baseline": row.baseline or None}
    return {**_json(dataclasses.asdict(row)), **own}


def _json(value: Any) -> Any:
    """Return nested values as JSON has them: lists, and null for a number that is not defined."""
    if isinstance(value, dict):
        return {name: _json(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_json(inner) for inner in value]
    return finite(value) if isinstance(value, float) else value


_COLUMNS = ("task", "metric", "experiment", "seeds", "tracks", "mean", "deviation", "low", "high")
_DIFFERENCE = ("baseline", "value", "low", "high", "p", "corrected", "paired")


def comparison_csv(comparison: Comparison) -> str:
    """Return a row for each task, metric and experiment; the mean over tasks has no task, Delta-m is a metric.

    The columns of a difference are empty for a baseline, and so is what is not defined.
    """
    rows: list[list[Any]] = [
        [*_COLUMNS, *(name if name == "baseline" else f"difference_{name}" for name in _DIFFERENCE)]
    ]
    for row in (*comparison.rows, *comparison.averages):
        for score in row.scores:
            numbers = [score.mean, score.deviation, score.low, score.high]
            cells: list[Any] = [row.task, row.metric, score.experiment, len(score.values), score.tracks]
            cells += [_cell(number) for number in numbers]
            if score.difference:
                cells += [_cell(getattr(score.difference, name)) for name in _DIFFERENCE]
            else:
                cells += [""] * len(_DIFFERENCE)
            rows.append(cells)
    for one in comparison.improvements:
        cells = ["", "delta_m", one.experiment, "", "", _cell(one.value), "", _cell(one.low), _cell(one.high)]
        rows.append([*cells, *[""] * len(_DIFFERENCE)])
    return csv_text(rows)


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else ""
    return str(value).lower() if isinstance(value, bool) else str(value)
