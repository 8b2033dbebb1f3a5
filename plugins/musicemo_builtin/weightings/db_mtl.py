"""The `db-mtl` weighting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from musicemo.contracts import GradientWeighting, Step
from musicemo_builtin.weightings._losses import check_positive

__all__ = ["DBMTL"]

_EPSILON = 1e-8


class DBMTL(GradientWeighting):
    """Dual balancing: logarithms of the losses, and gradients scaled to equal norm.

        d = max_i |m[i]| sum_t m[t] / |m[t]|
        m[t] <- b m[t] + (1 - b) g[t],  g[t] the gradient of log loss[t],  b = beta / step^beta_sigma

    Heads are also trained on the gradient of log loss[t]. The average of a task without a label in the batch does not
    change and is left out of the step. The averages need the memory of one backbone per task.

    B. Lin, W. Jiang, F. Ye, Y. Zhang, P. Chen, Y.-C. Chen, S. Liu and J. T. Kwok, "Dual-Balancing for Multi-Task
    Learning", 2023. The recorded weights are those of the gradients of log loss.

    Args:
        tasks: Names of the tasks.
        beta: Decay of the average in the first step; the paper uses 0.1 to 0.9.
        beta_sigma: Exponent with which the decay falls; the paper uses 0.5.

    Raises:
        InputError: A loss is negative.
    """

    scale_invariant = True
    positive_losses = True

    def __init__(
        self,
        *,
        tasks: Sequence[str],
        beta: Annotated[float, Field(ge=0, lt=1)] = 0.9,
        beta_sigma: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.5,
    ) -> None:
        super().__init__(tasks=tasks)
        self.beta, self.beta_sigma = beta, beta_sigma
        self.steps: Tensor
        #: Steps in which each task had a label.
        self.register_buffer("steps", torch.zeros(len(self.tasks), dtype=torch.int64))
        #: The averages m `[tasks, parameters]`, once their number is known.
        self._averages: Tensor | None
        self.register_buffer("_averages", None, persistent=False)

    def backward(self, losses: Mapping[str, Tensor], step: Step) -> Tensor:
        """Accumulate gradients in the parameters' `.grad` and return the sum of the losses' logarithms."""
        check_positive(losses)
        return super().backward({task: (loss + _EPSILON).log() for task, loss in losses.items()}, step)

    def aggregate(self, gradients: Tensor, tasks: Sequence[str]) -> Tensor:
        """Return the direction `[parameters]`."""
        where = [self.tasks.index(task) for task in tasks]
        if self._averages is None:
            self._averages = gradients.new_zeros(len(self.tasks), gradients.shape[1])
        self.steps[where] += 1
        kept = (self.beta / self.steps[where].to(gradients) ** self.beta_sigma)[:, None]
        averages = torch.lerp(gradients, self._averages[where], kept)
        self._averages[where] = averages
        norms = averages.norm(dim=1)
        weights = norms.max() / (norms + _EPSILON)
        self.trace.add(tasks, weights)
        direction: Tensor = weights @ averages
        return direction

    def get_extra_state(self) -> dict[str, Any]:
        """Return the state that has no size before the first step."""
        return {"averages": self._averages}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Continue from a state."""
        averages: Tensor | None = state["averages"]
        self._averages = None if averages is None else averages.clone().to(self.steps.device)
