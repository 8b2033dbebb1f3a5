"""The `random` weighting."""

from __future__ import annotations

import torch
from torch import Tensor

from musicemo_builtin.weightings._losses import LossWeighting

__all__ = ["Random"]


class Random(LossWeighting):
    """New random weights in each step, a baseline for the other methods.

        sum_t w[t] * loss[t], w = softmax(z), z standard normal

    over the tasks t that have a label in the batch.

    B. Lin, F. Ye, Y. Zhang and I. W. Tsang, "Reasonable Effectiveness of Random Weighting: A Litmus Test for
    Multi-Task Learning", TMLR 2022.

    Args:
        tasks: Names of the tasks.
    """

    stochastic = True

    def objective(self, losses: Tensor, present: slice | list[int]) -> Tensor:
        """Return the sum of losses `[n]`, randomly weighted."""
        return (torch.randn_like(losses, requires_grad=False).softmax(dim=0) * losses).sum()
