"""The `constant` weighting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from musicemo.contracts import Weighting
from musicemo.errors import InputError, nearest

__all__ = ["Constant"]


class Constant(Weighting):
    """The sum of the tasks' losses, each times a weight that does not change.

        sum_t w[t] * loss[t]

    over the tasks that have a label in the batch, with w -> `weights`.

    Shapes: losses are scalars, and so is the objective.

    Args:
        tasks: Names of the tasks.
        weights: Task -> weight, for every task; 1 each by default.

    Raises:
        InputError: `weights` names a task that is not there, leaves one out, or is zero throughout.
    """

    def __init__(
        self,
        *,
        tasks: Sequence[str],
        weights: dict[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]] | None = None,
    ) -> None:
        super().__init__(tasks=tasks)
        if weights is not None:
            _check(weights, self.tasks)
        self.weights = {task: 1.0 if weights is None else float(weights[task]) for task in self.tasks}

    def combine(self, losses: Mapping[str, Tensor]) -> Tensor:
        """Return the weighted sum of the losses."""
        return torch.stack([self.weights[task] * loss for task, loss in losses.items()]).sum()

    def scalars(self) -> dict[str, float]:
        """Return each task's weight."""
        return {f"weight/{task}": weight for task, weight in self.weights.items()}


def _check(weights: Mapping[str, float], tasks: Sequence[str]) -> None:
    listed = f"(tasks: {', '.join(tasks)})"
    problems = [
        f"weights: there is no task {name!r}{nearest(name, tasks)} {listed}"
        for name in weights
        if name not in tasks
    ]
    problems += [
        f"weights: task {task!r} has no weight; give one to every task, or to none {listed}"
        for task in tasks
        if task not in weights
    ]
    if not problems and not any(weights.values()):
        problems = [f"weights: every task has weight 0, so there is nothing to train {listed}"]
    if problems:
        raise InputError(*problems)
