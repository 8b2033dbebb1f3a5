"""Tables and charts of one run's metrics and predictions on its parts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from musicemo.evaluation import (
    CLASSIFICATION,
    REGRESSION,
    TITLES,
    Evaluation,
    TaskEvaluation,
)
from musicemo.reporting.blocks import Block, Cell, Charts, Section, Table, Tables
from musicemo.reporting.charts import MUTED, Axis, Chart, Intervals, Points, Rule, categories, spanning
from musicemo.reporting.sections.tracks import task_chart, worst
from musicemo.reporting.words import measured, number, plural, scale

__all__ = [
    "CONFUSION",
    "DOTS",
    "classes",
    "forest",
    "forests",
    "headline_part",
    "leading",
    "metrics_tables",
    "predictions",
    "rows_aspect",
    "worst_tracks",
]

_WORST = 5
"""Tracks that the table of the worst predicted ones has for each rating."""

DOTS = "Dots are tracks; on the dashed line, predicted and true ratings are equal. Rings mark the worst."
CONFUSION = "Rows are true classes, columns predicted ones; the colour is the share of the true class."

_PAIRS = 8
"""Pairs of classes that are listed of those that were mixed up, and tracks of each."""


def headline_part(metrics: Mapping[str, Any]) -> str:
    """Return the part that counts: test, or what there is of validation and training."""
    return next((part for part in ("test", "val", "train") if metrics.get(part)), "")


def metrics_tables(metrics: Mapping[str, Mapping[str, Any]], title: str = "") -> Iterator[Table]:
    """Yield a table for each kind of task: every metric with its interval."""
    for names in (REGRESSION, CLASSIFICATION):
        tasks = {task: found for task, found in metrics.items() if names[0] in found}
        if tasks:
            rows: list[list[str | Cell]] = [
                [
                    task,
                    *(measured(found.get(name), strong=name == names[0]) for name in names),
                    str(found.get("tracks", "")),
                ]
                for task, found in tasks.items()
            ]
            yield Table(["task", *(TITLES[name] for name in names), "tracks"], rows, title)


def forest(
    rows: Mapping[str, Mapping[str, Any]],
    metric: str,
    each: Mapping[str, Sequence[float]] | None = None,
    *,
    title: str = "",
    notes: Sequence[str] = (),
    colours: Mapping[str, int] | None = None,
) -> Chart:
    """Return values with their intervals, a row for each name.

    Args:
        rows: name -> metric -> ``value``, ``low`` and ``high``.
        metric: which one.
        each: name -> the values that it is the mean of.
        title: of the chart; the metric's name where absent.
        notes: what stands behind the title.
        colours: name -> the number of its colour.
    """
    dots = [(one, place) for place, name in enumerate(rows) for one in (each or {}).get(name, ())]
    known = [rows[name].get(metric) or {} for name in rows]
    value, low, high = ([found.get(end) for found in known] for end in ("value", "low", "high"))
    ends = [end for end in [*value, *low, *high, *(one for one, _ in dots)] if end is not None]
    is_share = metric in CLASSIFICATION
    least = min([0.0, *ends])
    axis = Axis(0, 1, TITLES[metric]) if is_share else spanning([least, 1.0, *ends], TITLES[metric], high=1)
    axis = axis if is_share else Axis(min(axis.low, 0) if least < 0 else 0.0, axis.high, axis.label)
    count = len(rows)
    return Chart(
        title=title or TITLES[metric],
        x=axis,
        y=categories(list(rows)),
        marks=[
            *([Rule(0)] if axis.low < 0 else []),
            *([Points([one for one, _ in dots], [y + 0.27 for _, y in dots], colour=MUTED)] if dots else []),
            *(
                Intervals(
                    [place], [value[place]], [low[place]], [high[place]], colour=(colours or {}).get(name, 0)
                )
                for place, name in enumerate(rows)
            ),
        ],
        aspect=rows_aspect(count),
        downwards=True,
        description=f"{title} {TITLES[metric]} with its interval: ".lstrip()
        + "; ".join(f"{name} {number(one)}" for name, one in zip(rows, value, strict=True) if one is not None),
        name=f"{title or metric}-intervals",
        notes=notes,
    )


def rows_aspect(count: int) -> float:
    """Return the height over the width of a chart of so many rows."""
    return min(1.6, 0.14 + 0.085 * count)


def forests(metrics: Mapping[str, Mapping[str, Any]]) -> Charts:
    """Return a forest plot for the leading metric of each kind of task."""
    charts = []
    for names in (REGRESSION, CLASSIFICATION):
        rows = {task: found for task, found in metrics.items() if names[0] in found}
        if rows:
            charts.append(forest(rows, names[0]))
    return Charts(charts)


def predictions(
    evaluation: Evaluation, kind: str, metrics: Mapping[str, Any], tasks: Mapping[str, Mapping[str, Any]]
) -> list[Chart]:
    """Return predicted against true ratings, or confusion matrices, of the tasks of a kind."""
    metric = leading(kind)
    charts = []
    for name, task in evaluation.tasks.items():
        if task.kind == kind and len(task.target):
            value = (metrics.get(name) or {}).get(metric)
            notes = [f"{TITLES[metric].split()[-1]} {number(value.get('value'))}"] if value else []
            rings = min(_WORST, len(task.target) // 4)
            charts.append(task_chart(name, task, unit=scale(tasks.get(name, {})), rings=rings, notes=notes))
    return charts


def classes(metrics: Mapping[str, Mapping[str, Any]]) -> Iterator[Table]:
    """Yield the scores of each class of every classification."""
    for task, found in metrics.items():
        if table := found.get("per_class"):
            rows: list[list[str | Cell]] = [
                [
                    name,
                    *(number(scores[key]) for key in ("precision", "recall", "f1")),
                    str(scores["support"]),
                ]
                for name, scores in table.items()
            ]
            yield Table(["class", "precision", "recall", "F1", "support"], rows, f"Classes of {task}")


def worst_tracks(evaluation: Evaluation) -> Section:
    """Return the section on the tracks that were predicted worst."""
    ratings = [
        _worst_ratings(name, task)
        for name, task in evaluation.tasks.items()
        if task.kind == "regression" and len(task.target)
    ]
    confused: list[Block] = [
        _confused(name, task)
        for name, task in evaluation.tasks.items()
        if task.kind == "classification" and (task.target != task.prediction).any()
    ]
    return Section("Worst predicted tracks", [*([Tables(ratings)] if ratings else []), *confused])


def _worst_ratings(name: str, task: TaskEvaluation) -> Table:
    rows: list[list[str | Cell]] = []
    for place in worst(task, _WORST).tolist():
        true, predicted = float(task.target[place]), float(task.prediction[place])
        error = Cell(f"{predicted - true:+.3f}".replace("-", "−"), strong=True)
        rows.append([task.ids[place], number(true), number(predicted), error])
    return Table(["track", "true", "predicted", "error"], rows, name)


def _confused(name: str, task: TaskEvaluation) -> Table:
    """Return the tracks that were taken for another class, by how often those two were mixed up."""
    wrong: list[int] = np.flatnonzero(task.target != task.prediction).tolist()
    pairs: dict[tuple[int, int], list[str]] = {}
    for place in wrong:
        pairs.setdefault((int(task.target[place]), int(task.prediction[place])), []).append(task.ids[place])
    ordered = sorted(pairs.items(), key=lambda item: -len(item[1]))
    rows = []
    for (true, predicted), ids in ordered[:_PAIRS]:
        shown = ", ".join(ids[:_PAIRS]) + (f" and {len(ids) - _PAIRS} more" if len(ids) > _PAIRS else "")
        rows.append([task.classes[true], task.classes[predicted], str(len(ids)), shown])
    title = f"{name}: {plural(len(wrong), 'track')} of {len(task.target)} in another class"
    return Table(["true", "predicted as", "tracks", "which"], rows, title, texts=frozenset({0, 1, 3}))


def leading(kind: str) -> str:
    """Return the leading metric of a kind of task."""
    return (REGRESSION if kind == "regression" else CLASSIFICATION)[0]
