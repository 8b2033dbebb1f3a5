"""The `geometric-mean` weighting."""

from __future__ import annotations

import torch
from torch import Tensor

from musicemo_builtin.weightings._losses import LossWeighting

__all__ = ["GeometricMean"]


class GeometricMean(LossWeighting):
    """The geometric mean of the losses of the n tasks that have a label in the batch.

        (prod_t loss[t])^(1/n)

    The weight of task t is objective / (n loss[t]), so relative changes of the losses count, whatever their scale. A
    loss of zero is replaced by the smallest positive number; a negative loss is an error.

    S. Chennupati, G. Sistu, S. Yogamani and S. A. Rawashdeh, "MultiNet++: Multi-Stream Feature Aggregation and
    Geometric Loss Strategy for Multi-Task Learning", CVPR Workshops 2019.

    Args:
        tasks: Names of the tasks.

    Raises:
        InputError: A loss is negative.
    """

    scale_invariant = True
    positive_losses = True

    def objective(self, losses: Tensor, present: slice | list[int]) -> Tensor:
        """Return the geometric mean of losses `[n]`."""
        return losses.clamp_min(torch.finfo(losses.dtype).tiny).log().mean().exp()
