"""The `nash-mtl` weighting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from musicemo_builtin.weightings._torchjd import Aggregation

__all__ = ["NashMTL"]


class NashMTL(Aggregation):
    """Nash bargaining: the step that maximizes the product of the improvements of all tasks.

        G w = 1 / w,  w > 0,  G the gradients' Gramian

    solved by a sequence of convex problems, each starting from the last solution. If a problem has no solution, or is
    skipped by `update_weights_every`, the weights of an earlier batch are used.

    A. Navon, A. Shamsian, I. Achituve, H. Maron, K. Kawaguchi, G. Chechik and E. Fetaya, "Multi-Task Learning as a
    Bargaining Game", ICML 2022.

    Args:
        tasks: Names of the tasks.
        max_norm: Maximum norm of the direction; 0 for no limit.
        update_weights_every: Number of steps after which the weights are recomputed.
        optim_niter: Maximum number of convex problems per step.

    Raises:
        InputError: torchjd or its solver is not installed.
    """

    scale_invariant = True
    conflict_free = True
    requires = ("cvxpy", "ecos")

    def __init__(
        self,
        *,
        tasks: Sequence[str],
        max_norm: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0,
        update_weights_every: Annotated[int, Field(ge=1)] = 1,
        optim_niter: Annotated[int, Field(ge=1)] = 20,
    ) -> None:
        super().__init__(tasks=tasks)
        self.max_norm, self.update_weights_every, self.optim_niter = max_norm, update_weights_every, optim_niter
        self.weights: Tensor
        self.steps: Tensor
        #: The weights of the last problem that was solved.
        self.register_buffer("weights", torch.ones(len(self.tasks), dtype=torch.float64))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def make(self, torchjd: Any, tasks: Sequence[str], like: Tensor) -> Any:
        """Return torchjd's `NashMTL`, its problem set up."""
        aggregator = torchjd.NashMTL(len(tasks), self.max_norm, self.update_weights_every, self.optim_niter)
        aggregator.weighting._init_optim_problem()
        return aggregator

    def weigh(self, gradients: Tensor, tasks: Sequence[str]) -> Tensor:
        """Return torchjd's weights `[tasks]`, with these tasks' last ones for its state."""
        if len(tasks) == 1:
            return torch.ones_like(gradients[:, 0])  # there is nobody to bargain with
        inner = self.aggregator(gradients, tasks).weighting
        where = [self.tasks.index(task) for task in tasks]
        inner.prvs_alpha = self.weights[where].cpu().numpy()
        inner.step = (
            int(self.steps) + self.update_weights_every
        )  # above 0, which would set the problem up again
        weights = super().weigh(gradients, tasks)
        self.steps += 1
        self.weights[where] = torch.from_numpy(np.asarray(inner.prvs_alpha, np.float64)).to(self.weights)
        return weights
