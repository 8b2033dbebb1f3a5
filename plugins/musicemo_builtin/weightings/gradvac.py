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
    """Gradient vaccine: `pcgrad` with the running mean of the cosine of two tasks as target instead of 0.

    If cos(g[i], g[j]) is below its moving average f[i, j], a multiple of g[j] is added to g[i] so that the
    cosine equals f[i, j]. The other tasks are visited in random order, and the direction is the sum of the
    changed gradients. Then f[i, j] <- (1 - beta) f[i, j] + beta cos(g[i], g[j]), except for tasks without a
    label in the batch.

    Z. Wang, Y. Tsvetkov, O. Firat and Y. Cao, "Gradient Vaccine: Investigating and Improving Multi-task
    Optimization in Massively Multilingual Models", ICLR 2021. The paper uses beta = 0.01; torchjd and this
    class use 0.5.

    Args:
        tasks: Names of the tasks.
        beta: Update rate of the moving average.
        eps: Constant added to denominators.

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
