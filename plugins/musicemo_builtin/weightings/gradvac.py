"""The `gradvac` weighting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from musicemo_builtin.weightings._torchjd import Aggregation

__all__ = ["GradVac"]


class GradVac(Aggregation):
    """Gradient vaccine: `pcgrad` towards the cosine that two tasks have had so far, not towards 0 alone.

    Where cos(g[i], g[j]) is below its moving average f[i, j], g[i] gets as much of g[j] added as brings it there; the
    others are taken in random order, and the sum of the changed gradients is followed. Then
    f[i, j] <- (1 - beta) f[i, j] + beta cos(g[i], g[j]); of a task without a label in the batch it stays.

    Z. Wang, Y. Tsvetkov, O. Firat and Y. Cao, "Gradient Vaccine: Investigating and Improving Multi-task Optimization
    in Massively Multilingual Models", ICLR 2021. The paper has beta = 0.01; torchjd, and this, 0.5.

    Args:
        tasks: Names of the tasks.
        beta: How fast the average follows.
        eps: Added to denominators.

    Raises:
        InputError: torchjd is not installed.
    """

    stochastic = True

    def __init__(
        self,
        *,
        tasks: Sequence[str],
        beta: Annotated[float, Field(ge=0, le=1)] = 0.5,
        eps: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1e-8,
    ) -> None:
        super().__init__(tasks=tasks)
        self.beta, self.eps = beta, eps
        self.cosines: Tensor
        #: The moving averages f, `[tasks, tasks]`.
        self.register_buffer("cosines", torch.zeros(len(self.tasks), len(self.tasks)))

    def make(self, torchjd: Any, tasks: Sequence[str], like: Tensor) -> Any:
        """Return torchjd's `GradVac`."""
        return torchjd.GradVac(self.beta, self.eps)

    def weigh(self, gradients: Tensor, tasks: Sequence[str]) -> Tensor:
        """Return torchjd's weights `[tasks]`, with the averages of these tasks for its state."""
        inner = self.aggregator(gradients, tasks).gramian_weighting
        where = torch.tensor([self.tasks.index(task) for task in tasks], device=self.cosines.device)
        rows, columns = where[:, None], where[None, :]
        inner._phi_t = self.cosines[rows, columns].to("cpu", gradients.dtype)
        inner._state_key = (len(tasks), gradients.dtype)
        weights = super().weigh(gradients, tasks)
        self.cosines[rows, columns] = inner._phi_t.to(self.cosines)
        return weights
