"""Figures of what a model made of a part, as matplotlib figures without a window."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from musicemo.evaluation.evaluation import TaskEvaluation

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["confusion_figure", "predicted_figure", "task_figure"]


def task_figure(name: str, part: str, task: TaskEvaluation) -> Figure:
    """Return the figure that suits the task's kind."""
    draw = predicted_figure if task.kind == "regression" else confusion_figure
    return draw(name, part, task)


def predicted_figure(name: str, part: str, task: TaskEvaluation) -> Figure:
    """Draw predicted against true ratings, with the line on which they would be equal."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.5, 4.5), layout="constrained")
    axes = figure.add_subplot()
    both = np.concatenate([task.target, task.prediction])
    both = both[np.isfinite(both)]
    low, high = (float(both.min()), float(both.max())) if len(both) else (0.0, 1.0)
    margin = 0.04 * (high - low) or 0.5
    axes.plot([low, high], [low, high], color="0.6", linewidth=1, linestyle="--", zorder=1)
    axes.scatter(task.target, task.prediction, s=16, alpha=0.6, linewidths=0, zorder=2)
    axes.set(
        xlim=(low - margin, high + margin),
        ylim=(low - margin, high + margin),
        xlabel=f"true {name}",
        ylabel=f"predicted {name}",
        aspect="equal",
    )
    rho = task.metrics()["spearman"]
    axes.set_title(f"{name}, {part} part: {len(task.target)} tracks, Spearman's ρ {rho:.3f}", fontsize=10)
    return figure


def confusion_figure(name: str, part: str, task: TaskEvaluation) -> Figure:
    """Draw the confusion matrix: counts as numbers, the share of each true class as colour."""
    from matplotlib.figure import Figure

    metrics = task.metrics()
    empty = np.zeros((len(task.classes), len(task.classes)), dtype=np.intp)
    counts = np.array(metrics.get("confusion_matrix", empty))
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = 2 + 0.45 * len(task.classes)
    figure = Figure(figsize=(side + 0.6, side), layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(shares, vmin=0, vmax=1, cmap="Blues")
    figure.colorbar(image, ax=axes, label="share of the true class", shrink=0.8)
    places = range(len(task.classes))
    axes.set_xticks(places, task.classes, rotation=60, ha="right")
    axes.set_yticks(places, task.classes)
    axes.set(xlabel="predicted", ylabel="true")
    for row, column in np.argwhere(counts):
        colour = "white" if shares[row, column] > 0.5 else "black"
        axes.text(column, row, counts[row, column], ha="center", va="center", color=colour, fontsize=8)
    accuracy = metrics["accuracy"]
    axes.set_title(f"{name}, {part} part: {len(task.target)} tracks, accuracy {accuracy:.3f}", fontsize=10)
    return figure
