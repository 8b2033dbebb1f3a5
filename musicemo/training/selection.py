"""Which epoch is the best for several tasks: criteria, and what each costs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from musicemo.data import Task
from musicemo.evaluation import CLASSIFICATION, REGRESSION, Evaluation, finite, ranks
from musicemo.training.objective import Objective

if TYPE_CHECKING:
    from musicemo.training.stopping import Stopping

__all__ = [
    "MEAN_IMPROVEMENT",
    "MEAN_RANK",
    "describe_selection",
    "mean_improvement",
    "mean_predictor_losses",
    "mean_ranks",
]

MEAN_RANK = "val/mean_rank"
MEAN_IMPROVEMENT = "val/mean_improvement"

History = Sequence[Mapping[str, float]]


def mean_ranks(history: History, tasks: Sequence[str]) -> list[float]:
    """Return each epoch's rank among all, by each task's validation loss, averaged over the tasks.

    The lowest loss has rank 1; equal ones share the mean of their ranks; one that is not finite is the highest.
    Tasks without a label in the validation part are left out; NaN where that are all.
    """
    losses = np.array([[_loss(record, task) for record in history] for task in tasks])
    known = np.isfinite(losses).any(axis=1)
    if not known.any():
        return [math.nan] * len(history)
    by_task = ranks(np.where(np.isfinite(losses), losses, np.inf)[known])
    means: list[float] = by_task.mean(axis=0).tolist()
    return means


@torch.no_grad()
def mean_predictor_losses(
    objective: Objective, labels: NDArray[np.float64], targets: Tensor, device: torch.device
) -> dict[str, float]:
    """Return the losses of a predictor that knows the training part's labels and no features.

    It predicts the mean rating, or the classes in their shares.

    Args:
        objective: each task's loss.
        labels: `[training tracks, tasks]`; NaN where missing.
        targets: `[tracks, tasks]`, of the part that is predicted.
        device: where the losses are computed.
    """
    predictions = {}
    for column, task in enumerate(objective.tasks):
        known = labels[np.isfinite(labels[:, column]), column]
        if task.kind == "regression":
            row = torch.tensor(float(known.mean()))
        else:
            counts = np.bincount(known.astype(np.intp), minlength=len(task.classes))
            row = torch.from_numpy(np.maximum(counts, 0.5)).log()  # half a track of a class that has none
        predictions[task.name] = row.float().expand(len(targets), *row.shape).clone().to(device)
    return {name: float(loss) for name, loss in objective(predictions, targets).items()}


def mean_improvement(record: Mapping[str, float], reference: Mapping[str, float]) -> float:
    """Return the mean over the tasks of ``1 - loss / reference``, of the validation part.

    0 is what the reference knows, 1 a loss of zero. A task whose reference is not above zero has no such share and is
    left out; NaN where none is left.

    Args:
        record: an epoch's record.
        reference: task -> loss of the predictor to improve on.
    """
    shares = [
        1 - record[f"val/{task}/loss"] / loss
        for task, loss in reference.items()
        if f"val/{task}/loss" in record and 0 < loss < math.inf
    ]
    return sum(shares) / len(shares) if shares else math.nan


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
    leading = {task.name: (REGRESSION if task.kind == "regression" else CLASSIFICATION)[0] for task in tasks}
    ranks = mean_ranks(history, names)
    chosen = {
        "val/loss": _lowest([record.get("val/loss", math.nan) for record in history]),
        MEAN_RANK: _lowest(ranks),
        MEAN_IMPROVEMENT: _lowest([-record.get(MEAN_IMPROVEMENT, math.nan) for record in history]),
        **{f"val/{name}/loss": _lowest([_loss(record, name) for record in history]) for name in names},
        stopping.monitor: stopping.best_epoch,
    }
    tests = {
        epoch: {name: task.metrics() for name, task in found.tasks.items()} for epoch, found in tested.items()
    }
    criteria = {}
    for criterion, epoch in chosen.items():
        if epoch is None:
            continue
        record = history[epoch - 1]
        found: dict[str, dict[str, float | None]] = {}
        for name in names:
            lowest = chosen[f"val/{name}/loss"]
            if lowest is None:
                continue
            least, loss = _loss(history[lowest - 1], name), _loss(record, name)
            found[name] = {
                "loss": finite(loss),
                "excess": 0.0 if loss == least else finite((loss - least) / abs(least)) if least else None,
                "val": finite(record.get(f"val/{name}/{leading[name]}", math.nan)),
            }
            if epoch in tests:
                found[name]["test"] = finite(tests[epoch][name][leading[name]])
        criteria[criterion] = {"epoch": epoch, "tasks": found}
    return {
        "monitor": stopping.monitor,
        "epoch": stopping.best_epoch,
        "metrics": leading,
        "criteria": criteria,
    }


def _loss(record: Mapping[str, float], task: str) -> float:
    return record.get(f"val/{task}/loss", math.nan)


def _lowest(values: Sequence[float]) -> int | None:
    """Return the epoch of the first lowest value, counted from 1; None where none is finite."""
    known = [(value, epoch) for epoch, value in enumerate(values, start=1) if math.isfinite(value)]
    return min(known)[1] if known else None
