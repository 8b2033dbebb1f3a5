"""Criteria by which an epoch is the best for several tasks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from musicemo.data import columns, labelled
from musicemo.evaluation import ranks
from musicemo.training.objective import Objective

__all__ = [
    "MEAN_IMPROVEMENT",
    "MEAN_RANK",
    "History",
    "mean_improvement",
    "mean_predictor_losses",
    "mean_ranks",
    "validation_loss",
]

MEAN_RANK = "val/mean_rank"
MEAN_IMPROVEMENT = "val/mean_improvement"

History = Sequence[Mapping[str, float]]


def mean_ranks(history: History, tasks: Sequence[str]) -> list[float]:
    """Return each epoch's rank among all, by each task's validation loss, averaged over the tasks.

    The lowest loss has rank 1; equal ones share the mean of their ranks; one that is not finite is the highest.
    Tasks without a label in the validation part are left out; NaN where that are all.
    """
    losses = np.array([[validation_loss(record, task) for record in history] for task in tasks])
    labeled = np.isfinite(losses).any(axis=1)
    if not labeled.any():
        return [math.nan] * len(history)
    by_task = ranks(np.where(np.isfinite(losses), losses, np.inf)[labeled])
    means: list[float] = by_task.mean(axis=0).tolist()
    return means


@torch.no_grad()
def mean_predictor_losses(
    objective: Objective,
    labels: NDArray[np.float64],
    targets: Tensor,
    indices: NDArray[np.intp],
    device: torch.device,
    series: Mapping[str, Tensor] | None = None,
    means: Mapping[str, float] | None = None,
    listeners: Mapping[str, NDArray[np.float32]] = MappingProxyType({}),
) -> dict[str, float]:
    """Return the losses of a predictor that knows the training part's labels and no features.

    It predicts the mean rating, or the distribution of all ratings, the classes or tags in their shares, or equal
    scores of all tracks.

    Args:
        objective: each task's loss.
        labels: `[training tracks, columns]`; NaN where missing.
        listeners: task that learns a distribution -> the ratings of the training part's listeners.
        targets: `[tracks, columns]`, of the part that is predicted.
        indices: `[tracks]`, of the part that is predicted.
        device: where the losses are computed.
        series: task with ratings over time -> those of the part that is predicted, `[tracks, time]`.
        means: task with ratings over time -> the mean of its training ratings.
    """
    predictions = {}
    places = columns(objective.tasks)
    for task in objective.tasks:
        if task.kind == "pairs":
            predictions[task.name] = torch.zeros(len(targets), device=device)
            continue
        if task.kind == "series":
            steps = (series or {})[task.name]
            predictions[task.name] = torch.full_like(steps, (means or {})[task.name], device=device)
            continue
        task_labels = labels[:, places[task.name]]
        task_labels = task_labels[labelled(task_labels)]
        if task.distribution:
            row = task.distribution.constant(torch.from_numpy(listeners[task.name]))
        elif task.kind == "regression":
            row = torch.tensor(float(task_labels.mean()))
        elif task.kind == "tags":
            having, without = (np.maximum((task_labels == value).sum(axis=0), 0.5) for value in (1, 0))
            row = torch.from_numpy(np.log(having / without))
        else:
            counts = np.bincount(task_labels.astype(np.intp), minlength=len(task.classes))
            row = torch.from_numpy(np.maximum(counts, 0.5)).log()  # half a track of a class that has none
        predictions[task.name] = row.float().expand(len(targets), *row.shape).clone().to(device)
    return {name: float(loss) for name, loss in objective(predictions, targets, indices, series).items()}


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


def validation_loss(record: Mapping[str, float], task: str) -> float:
    """Return the validation loss of a task in an epoch; NaN if it is not recorded."""
    return record.get(f"val/{task}/loss", math.nan)
