"""The epoch that each criterion selects, and its cost for each task."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from musicemo.data import Task
from musicemo.evaluation import METRICS, Evaluation, finite
from musicemo.training.criteria import MEAN_IMPROVEMENT, MEAN_RANK, History, mean_ranks, validation_loss
from musicemo.training.stopping import Stopping

__all__ = ["describe_selection"]


def describe_selection(
    history: History, tasks: Sequence[Task], stopping: Stopping, tested: Mapping[int, Evaluation]
) -> dict[str, Any]:
    """Return what `results.json` holds as ``selection``: the epoch that each criterion chooses, and its price.

    ``{"monitor": name, "epoch": e, "metrics": {task: metric}, "criteria": {name: {"epoch": e, "tasks": {task:
    {"loss", "excess", "val", "test"}}}}}``. The criteria are `val/loss`, `val/mean_rank`, `val/mean_improvement`, each
    task's `val/<task>/loss`, and what early stopping monitored, whose epoch is the one of `best.pt`; the others look
    back on the whole history. ``loss`` is the task's validation loss in that epoch and ``excess`` how far it is above
    the lowest one, as a share of it; ``val`` is the task's leading metric there, and ``test`` the same of the test
    part, where the epoch's checkpoint was kept.

    Args:
        history: a record an epoch.
        tasks: the tasks.
        stopping: what chose the best epoch.
        tested: epoch -> evaluation of the test part.
    """
    names = [task.name for task in tasks]
    leading = {task.name: METRICS[task.kind][0] for task in tasks}
    ranks = mean_ranks(history, names)
    epochs = {
        "val/loss": _lowest([record.get("val/loss", math.nan) for record in history]),
        MEAN_RANK: _lowest(ranks),
        MEAN_IMPROVEMENT: _lowest([-record.get(MEAN_IMPROVEMENT, math.nan) for record in history]),
        **{
            f"val/{name}/loss": _lowest([validation_loss(record, name) for record in history]) for name in names
        },
        stopping.monitor: stopping.best_epoch,
    }
    tests = {
        epoch: {name: task.metrics() for name, task in evaluation.tasks.items()}
        for epoch, evaluation in tested.items()
    }
    criteria = {}
    for criterion, epoch in epochs.items():
        if epoch is None:
            continue
        record = history[epoch - 1]
        costs: dict[str, dict[str, float | None]] = {}
        for name in names:
            lowest = epochs[f"val/{name}/loss"]
            if lowest is None:
                continue
            least, loss = validation_loss(history[lowest - 1], name), validation_loss(record, name)
            costs[name] = {
                "loss": finite(loss),
                "excess": 0.0 if loss == least else finite((loss - least) / abs(least)) if least else None,
                "val": finite(record.get(f"val/{name}/{leading[name]}", math.nan)),
            }
            if epoch in tests:
                costs[name]["test"] = finite(tests[epoch][name][leading[name]])
        criteria[criterion] = {"epoch": epoch, "tasks": costs}
    return {
        "monitor": stopping.monitor,
        "epoch": stopping.best_epoch,
        "metrics": leading,
        "criteria": criteria,
    }


def _lowest(values: Sequence[float]) -> int | None:
    """Return the epoch of the first lowest value, counted from 1; None where none is finite."""
    finite_values = [(value, epoch) for epoch, value in enumerate(values, start=1) if math.isfinite(value)]
    return min(finite_values)[1] if finite_values else None
