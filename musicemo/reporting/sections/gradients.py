"""Charts of how the tasks' gradients agree: cosines over time, their means, norms."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from musicemo.reporting.blocks import Block, Charts, Facts, Number, Section
from musicemo.reporting.charts import Axis, Cells, Chart, categories
from musicemo.reporting.sections.training import curves
from musicemo.reporting.words import number, plural
from musicemo.runs import RunRecord

__all__ = ["cosine_chart", "gradient_section"]

_COLUMNS = 60
"""Of the heat map over time, at most: of more epochs, each column is the mean of some."""


def gradient_section(runs: Sequence[RunRecord]) -> Section:
    """Return the section on the agreement of the tasks' gradients, which is empty if none was recorded."""
    return Section("Gradient conflict", _blocks(runs, list(runs[0].tasks)))


def _blocks(runs: Sequence[RunRecord], tasks: Sequence[str]) -> list[Block]:
    recorded = [run for run in runs if run.results.get("gradients") or _pairs(run.history)]
    if not recorded:
        return []
    summaries = [run.results["gradients"] for run in recorded if run.results.get("gradients")]
    charts = [
        *_matrices(summaries, tasks),
        *(heat for run in recorded for heat in _heat(run, len(recorded) > 1)),
    ]
    keys = {f"gradient/{task}/norm": task for task in tasks}
    lines = [curves(recorded, keys, "norm of each task's gradient", log=True)]
    lines.append(curves(recorded, {"gradient/conflict": ""}, "share of steps in conflict"))
    blocks: list[Block] = [Facts(_facts(summaries))] if summaries else []
    blocks += [
        Charts(
            charts,
            note="Cosine between two tasks' gradients with respect to the shared parameters, averaged over the "
            "measured steps: 1 if both point in the same direction, negative if they conflict.",
        ),
        Charts([chart for chart in lines if chart.marks]),
    ]
    return blocks


def _facts(summaries: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    shares = [one["conflict"] for one in summaries if one.get("conflict") is not None]
    rows = []
    if shares:
        rows.append(("steps with a conflict", Number.share(sum(shares) / len(shares)).text))
    if steps := sum(one.get("steps", 0) for one in summaries):
        rows.append(("measured", plural(steps, "step")))
    norms = {task: norm for summary in summaries[:1] for task, norm in (summary.get("norms") or {}).items()}
    if norms:
        rows.append(("mean gradient norm", ", ".join(f"{task} {norm:.3g}" for task, norm in norms.items())))
    return rows


def _matrices(summaries: Sequence[Mapping[str, Any]], tasks: Sequence[str]) -> list[Chart]:
    charts = []
    for key, title, signed in (("cosines", "mean cosine", True), ("conflicts", "share of conflicts", False)):
        tables = [one[key] for one in summaries if one.get(key)]
        if not tables:
            continue
        values = np.array([[_mean(tables, a, b) for b in tasks] for a in tasks])
        shown = [[number(value, ".2f").replace("-", "−") for value in row] for row in values.tolist()]
        texts = [["" if text == "n/a" else text for text in row] for row in shown]
        charts.append(
            Chart(
                title=title,
                x=categories(tasks),
                y=categories(tasks),
                marks=[Cells(values, texts=texts, signed=signed)],
                aspect=0.85,
                downwards=True,
                description=f"{title} of each pair of tasks' gradients",
                name=key,
            )
        )
    return charts


def _mean(tables: Sequence[Mapping[str, Any]], first: str, second: str) -> float:
    if first == second:
        return math.nan
    values = []
    for table in tables:
        value = (table.get(first) or {}).get(second, (table.get(second) or {}).get(first))
        if value is not None:
            values.append(value)
    return sum(values) / len(values) if values else math.nan


def _pairs(history: Sequence[Mapping[str, float]]) -> list[str]:
    """Return the pairs of tasks whose cosine was recorded."""
    keys = {key: None for record in history for key in record if key.endswith("/cosine")}
    return [key.split("/")[1] for key in keys]


def _heat(run: RunRecord, several: bool) -> list[Chart]:
    if not _pairs(run.history):
        return []
    return [cosine_chart(run.history, f", seed {run.results.get('seed')}" if several else "")]


def cosine_chart(history: Sequence[Mapping[str, float]], seed: str = "") -> Chart:
    """Return a heat map of the cosines of every pair of tasks' gradients over a run's epochs.

    Args:
        history: a run's records, with gradients in some.
        seed: what the title ends with.
    """
    pairs = _pairs(history)
    rows = [[record.get(f"gradient/{pair}/cosine") for record in history] for pair in pairs]
    values = np.array(rows, dtype=float)
    edges = np.unique(np.linspace(0, values.shape[1], min(_COLUMNS, values.shape[1]) + 1).round().astype(int))
    columns = [_column_mean(values[:, start:end]) for start, end in pairwise(edges)]
    return Chart(
        title=f"cosine over the epochs{seed}",
        x=Axis(0.5, values.shape[1] + 0.5, "epoch", whole=True),
        y=categories([pair.replace(":", " · ") for pair in pairs]),
        marks=[Cells(np.stack(columns, axis=1), x=[edge + 0.5 for edge in edges.tolist()], signed=True)],
        aspect=min(1.6, max(0.3, 0.07 * len(pairs) + 0.15)),
        downwards=True,
        description=f"Cosine of each pair of tasks' gradients over {values.shape[1]} epochs",
        name=f"cosine{seed}",
    )


def _column_mean(values: np.ndarray[Any, np.dtype[np.float64]]) -> np.ndarray[Any, np.dtype[np.float64]]:
    defined = np.isfinite(values)
    total = np.where(defined, values, 0).sum(axis=1)
    return np.where(defined.any(axis=1), total / np.maximum(defined.sum(axis=1), 1), np.nan)
