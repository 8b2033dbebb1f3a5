"""The `mean` weighting."""

from __future__ import annotations

from torch import Tensor

from musicemo_builtin.weightings._losses import LossWeighting

__all__ = ["Mean"]


class Mean(LossWeighting):
    """The mean of the losses of the n tasks that have a label in the batch: 1/n sum_t loss[t].

    With Adam it equals `constant` up to rounding. With gradient descent, and if batches lack tasks, it differs by the
    learning rate.

    Args:
        tasks: Names of the tasks.
    """

    def objective(self, losses: Tensor, present: slice | list[int]) -> Tensor:
        """Return the mean of losses `[n]`."""
        return losses.mean()
