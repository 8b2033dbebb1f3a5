"""A weighting for weights.toml: weights exp(-s) that nothing keeps from 0."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from musicemo.contracts import Weighting


class ExpOnly(Weighting):
    """The sum of exp(-s[t]) * loss[t], with a trained s per task: `uncertainty` without its term + s.

    For a positive loss, the objective falls as s grows, without a minimum: the weight of the task tends to 0.

    Args:
        tasks: names of the tasks.
    """

    def __init__(self, *, tasks: Sequence[str]) -> None:
        super().__init__(tasks=tasks)
        self.s = nn.Parameter(torch.zeros(len(self.tasks)))

    def combine(self, losses: Mapping[str, Tensor]) -> Tensor:
        """Return the weighted sum of the losses."""
        weights = dict(zip(self.tasks, torch.exp(-self.s), strict=True))
        return torch.stack([weights[task] * loss for task, loss in losses.items()]).sum()

    def scalars(self) -> dict[str, float]:
        """Return each task's weight exp(-s), and s."""
        values = dict(zip(self.tasks, self.s.tolist(), strict=True))
        return {
            **{f"weight/{task}": math.exp(-s) for task, s in values.items()},
            **{f"log_variance/{task}": s for task, s in values.items()},
        }
