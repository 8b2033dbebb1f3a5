"""Charts of an evaluation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from musicemo.evaluation import TaskEvaluation
from musicemo.reporting.charts import MUTED, Cells, Chart, Line, Mark, Points, categories, draw, spanning

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["task_chart", "task_figure", "worst"]

_DOTS = 400
"""Tracks that are drawn as dots; of more, the density is."""

_TITLED = 150
"""Tracks that are named where a pointer rests on their dots; more would make a page large."""

_BINS = 30


def task_figure(name: str, part: str, task: TaskEvaluation) -> Figure:
    """Return `task_chart`, drawn by matplotlib, with the leading metric."""
    metric = {"spearman": "Spearman's ρ", "accuracy": "accuracy"}[task.names[0]]
    score = f"{metric} {task.metrics()[task.names[0]]:.3f}"
    return draw(task_chart(name, task, notes=[f"{part} part", f"{len(task.target)} tracks", score]))


def task_chart(
    name: str, task: TaskEvaluation, *, unit: str = "", rings: int = 0, notes: Sequence[str] = ()
) -> Chart:
    """Return a chart of predicted against true ratings, or the confusion matrix.

    Args:
        name: name of the task.
        task: predictions and targets.
        unit: unit of the ratings.
        rings: number of worst predictions to mark.
        notes: text after the title.
    """
    if task.kind == "regression":
        return _predicted(name, task, unit, rings, notes)
    return _confusion(name, task, notes)


def worst(task: TaskEvaluation, count: int) -> NDArray[np.intp]:
    """Return the indices of the `count` ratings with the largest absolute errors, the largest first."""
    error = np.nan_to_num(np.abs(task.prediction - task.target), nan=math.inf)
    return np.argsort(-error, kind="stable")[:count]


def _predicted(name: str, task: TaskEvaluation, unit: str, rings: int, notes: Sequence[str]) -> Chart:
    """Draw dots, or their density if there are many, and the diagonal."""
    unit = unit and f" ({unit})"
    both = np.concatenate([task.target, task.prediction])
    x = spanning(both, f"true {name}{unit}", margin=0.04)
    y = spanning(both, f"predicted {name}{unit}", margin=0.04)
    marks: list[Mark] = [Line([x.low, x.high], [x.low, x.high], colour=MUTED, dashed=True)]
    if len(task.target) > _DOTS:
        counts, _, _ = np.histogram2d(
            task.prediction, task.target, bins=_BINS, range=[(x.low, x.high), (x.low, x.high)]
        )
        edges = np.linspace(x.low, x.high, _BINS + 1).tolist()
        marks.insert(0, Cells(np.sqrt(counts / max(counts.max(), 1)), edges, edges, label="density"))
    else:
        titles = _titles(task) if len(task.target) <= _TITLED else ()
        marks.append(Points(task.target.tolist(), task.prediction.tolist(), titles=titles))
    if rings:
        places = worst(task, rings)
        chosen = TaskEvaluation(
            task.kind, [task.ids[place] for place in places], task.target[places], task.prediction[places]
        )
        pairs = chosen.target.tolist(), chosen.prediction.tolist()
        marks.append(Points(*pairs, colour=1, ring=True, titles=_titles(chosen)))
    return Chart(
        title=name,
        x=x,
        y=y,
        marks=marks,
        aspect=1,
        description=", ".join([f"Predicted against true {name} of {len(task.target)} tracks", *notes]),
        notes=notes,
    )


def _titles(task: TaskEvaluation) -> list[str]:
    return [
        f"{track}: true {target:.4g}, predicted {prediction:.4g}"
        for track, target, prediction in zip(task.ids, task.target, task.prediction, strict=True)
    ]


def _confusion(name: str, task: TaskEvaluation, notes: Sequence[str]) -> Chart:
    """Draw the counts as numbers, and the share of each true class as color."""
    counts = np.zeros((len(task.classes), len(task.classes)), dtype=np.intp)
    np.add.at(counts, (task.target, task.prediction), 1)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    texts = [[str(count) if count else "" for count in row] for row in counts.tolist()]
    return Chart(
        title=name,
        x=categories(task.classes, "predicted"),
        y=categories(task.classes, "true"),
        marks=[Cells(shares, texts=texts, label="share of the true class")],
        aspect=1,
        downwards=True,
        description=", ".join([f"Confusion matrix of {name}, {len(task.target)} tracks", *notes]),
        notes=notes,
    )
