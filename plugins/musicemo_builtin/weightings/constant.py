"""The `constant` weighting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from musicemo.contracts import Weighting
from musicemo_builtin.weightings._losses import WeightsByTask, by_task

__all__ = ["Constant"]


class Constant(Weighting):
    """Weighted sum of the task losses with constant weights.

        sum_t w[t] * loss[t]

    over the tasks that have a label in the batch, with w -> `weights`.

    Shapes: losses are scalars, and so is the objective.

    Args:
        tasks: Names of the tasks.
        weights: Task -> weight, for every task; 1 each by default.

    Raises:
        InputError: `weights` names an unknown task, leaves a task out, or is zero for all tasks.
    """

    def __init__(self, *, tasks: Sequence[str], weights: WeightsByTask | None = None) -> None:
        super().__init__(tasks=tasks)
        self.weights = dict(zip(self.tasks, by_task("weights", weights, self.tasks), strict=True))

    def combine(self, losses: Mapping[str, Tensor]) -> Tensor:
        """Return the weighted sum of the losses."""
        return torch.stack([self.weights[task] * loss for task, loss in losses.items()]).sum()

    def scalars(self) -> dict[str, float]:
        """Return each task's weight."""
        return {f"weight/{task}": weight for task, weight in self.weights.items()}
