"""Base class of loss-based weightings, parameters per task, and checks for negative losses."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from musicemo.contracts import Weighting
from musicemo.errors import InputError, nearest

__all__ = [
    "ByTask",
    "LossWeighting",
    "Number",
    "Positive",
    "WeightsByTask",
    "by_task",
    "check_positive",
    "warn_of_negative",
]

_log = logging.getLogger(__name__)

Number = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]

#: A number per task, for every task.
ByTask = dict[str, Number]
WeightsByTask = dict[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]]

#: Of the losses in a batch, which tasks they are of.
Present = slice | list[int]


class LossWeighting(Weighting):
    """A weighting whose objective is a function of the losses as one tensor."""

    def register_constants(self, **constants: Sequence[float]) -> None:
        """Keep numbers by task, of the configuration: on the losses' device, and in no checkpoint."""
        for name, values in constants.items():
            self.register_buffer(name, torch.tensor(values), persistent=False)

    def combine(self, losses: Mapping[str, Tensor]) -> Tensor:
        """Return the objective."""
        if self.positive_losses:
            check_positive(losses)
        order = [index for index, task in enumerate(self.tasks) if task in losses]
        values = torch.stack([losses[self.tasks[index]] for index in order])
        return self.objective(values, slice(None) if len(order) == len(self.tasks) else order)

    def objective(self, losses: Tensor, present: Present) -> Tensor:
        """Return the objective of losses `[n]`; `present` picks their tasks out of a tensor of all."""
        raise NotImplementedError


def by_task(
    key: str,
    given: Mapping[str, float] | None,
    tasks: Sequence[str],
    default: float = 1.0,
    *,
    sign: bool = True,
) -> list[float]:
    """Return one number per task, in the order of the tasks.

    Args:
        key: name of the parameter.
        given: task -> number, for every task; None for the default throughout.
        tasks: names of the tasks.
        default: number of each task if `given` is None.
        sign: whether the numbers are weights, which cannot all be zero.

    Raises:
        InputError: a task that is not there or is left out, or weights of zero throughout.
    """
    if given is None:
        return [default] * len(tasks)
    listed = f"(tasks: {', '.join(tasks)})"
    problems = [
        f"{key}: there is no task {name!r}{nearest(name, tasks)} {listed}"
        for name in given
        if name not in tasks
    ]
    problems += [
        f"{key}: task {task!r} has no {'weight' if sign else 'value'}; give one to every task, or to none {listed}"
        for task in tasks
        if task not in given
    ]
    if sign and not problems and not any(given.values()):
        problems = [f"{key}: at least one task must have a weight above 0 {listed}"]
    if problems:
        raise InputError(*problems)
    return [float(given[task]) for task in tasks]


def check_positive(losses: Mapping[str, Tensor], bounds: Mapping[str, float] | None = None) -> None:
    """Raise an `InputError` that names the tasks whose loss is below zero, or below its lower bound."""
    lowest = bounds or {}
    values = torch.stack([loss.detach() for loss in losses.values()]).tolist()
    problems = []
    for task, value in zip(losses, values, strict=True):
        bound = lowest.get(task, 0.0)
        if value < bound:
            below = f"below its lower bound {bound:g}" if bound else "negative"
            problems.append(
                f"the loss of task {task!r} is {value:.4g}: {below}, and this weighting is defined for what is "
                "above alone. Use terms that are never negative (such as soft-spearman in its default form, or "
                'pearson), or the weighting "constant"'
            )
    if problems:
        raise InputError(*problems)


def warn_of_negative(losses: Mapping[str, Tensor], warned: set[str], why: str) -> None:
    """Warn, once per task, of a loss below zero."""
    values = torch.stack([loss.detach() for loss in losses.values()]).tolist()
    for task, value in zip(losses, values, strict=True):
        if value < 0 and task not in warned:
            warned.add(task)
            _log.warning(
                f"the loss of task {task!r} is negative: {why}. Use terms that are never negative (such as "
                'soft-spearman in its default form, or pearson), or the weighting "constant"'
            )
