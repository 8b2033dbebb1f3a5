"""The `uncertainty` weighting."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from musicemo.contracts import Weighting

__all__ = ["Uncertainty"]


class Uncertainty(Weighting):
    """Trained weights: each task's loss is divided by an uncertainty that the optimizer finds.

        sum_t exp(-s[t]) * loss[t] + s[t]

    over the tasks t that have a label in the batch, with s -> `log_variance`, one trained parameter per task.
    For a loss L > 0 that stands still, s tends to log L and the weight exp(-s) to 1 / L: tasks come to weigh
    equally, whatever the scale of their losses. For a loss below zero there is no minimum: s falls without
    bound and the weight explodes. A warning says so, once per task.

    A. Kendall, Y. Gal and R. Cipolla, "Multi-Task Learning Using Uncertainty to Weigh Losses for Scene Geometry
    and Semantics", CVPR 2018. Theirs is (1/2) exp(-s) * loss + s/2 for a regression, half of the above, and
    exp(-s) * loss + s/2 for a classification, s being the logarithm of the observation noise's variance. The
    study behind musicemo has the form above for every task, and so has this.

    Shapes: losses are scalars, and so is the objective; `log_variance` `[tasks]`.

    Args:
        tasks: Names of the tasks.
        initial: Every parameter's value at the start; 0 is a weight of 1.
    """

    def __init__(
        self, *, tasks: Sequence[str], initial: Annotated[float, Field(allow_inf_nan=False)] = 0.0
    ) -> None:
        super().__init__(tasks=tasks)
        self.log_variance = nn.Parameter(torch.full((len(self.tasks),), float(initial)))
        self._warned: set[str] = set()

    def combine(self, losses: Mapping[str, Tensor]) -> Tensor:
        """Return the sum of the weighted losses and of the parameters."""
        values = torch.stack([losses[task] for task in self.tasks if task in losses])
        present = [index for index, task in enumerate(self.tasks) if task in losses]
        s = self.log_variance if len(present) == len(self.tasks) else self.log_variance[present]
        self._warn_of_negative([self.tasks[index] for index in present], values)
        return (torch.exp(-s) * values + s).sum()

    def scalars(self) -> dict[str, float]:
        """Return each task's weight exp(-s), and s."""
        s = self.log_variance.detach()
        weights = dict(zip(self.tasks, torch.exp(-s).tolist(), strict=True))
        return {f"weight/{task}": weight for task, weight in weights.items()} | {
            f"log_variance/{task}": value for task, value in zip(self.tasks, s.tolist(), strict=True)
        }

    def _warn_of_negative(self, tasks: Sequence[str], losses: Tensor) -> None:
        for task, negative in zip(tasks, (losses.detach() < 0).tolist(), strict=True):
            if negative and task not in self._warned:
                self._warned.add(task)
                warnings.warn(
                    f"the loss of task {task!r} is negative: exp(-s) * loss + s then has no minimum, s falls "
                    "without bound and the task's weight explodes. Use terms that are never negative (such as "
                    'soft-spearman in its default form, or pearson), or the weighting "constant"',
                    UserWarning,
                    stacklevel=3,
                )
