"""Stochastic depth."""

from __future__ import annotations

from torch import Tensor, nn

__all__ = ["DropPath"]


class DropPath(nn.Module):
    """Stochastic depth: drops the branch of a residual block in training, at random for each row of a batch.

    For a block x + f(x) and rows i of the batch, with p -> `probability`:

        y[i] = x[i] + b[i] f(x)[i] / (1 - p),   P(b[i] = 0) = p,   P(b[i] = 1) = 1 - p

    This module takes f(x) and returns the second term, whose mean is f(x). In evaluation mode, and with a probability
    of 0, it returns f(x) and draws no random numbers. With L blocks, the probability usually grows linearly with the
    depth: the one of block l is l / L times that of the last.

    G. Huang, Y. Sun, Z. Liu, D. Sedra, K. Q. Weinberger, "Deep Networks with Stochastic Depth", ECCV 2016. Deviations:
    blocks are dropped for single rows instead of whole batches, and are scaled in training instead of in evaluation.

    Args:
        probability: Probability of dropping the branch, from 0 to less than 1.

    Raises:
        ValueError: the probability is not in this range.
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        if not 0 <= probability < 1:
            raise ValueError(f"probability must be at least 0 and less than 1, not {probability}")
        self.probability = probability

    def forward(self, branch: Tensor) -> Tensor:
        """Return the branch `[batch, ...]`, scaled, and zero in the rows that are dropped."""
        if not self.training or not self.probability:
            return branch
        kept = branch.new_empty(branch.shape[0], *[1] * (branch.dim() - 1)).bernoulli_(1 - self.probability)
        return branch * (kept / (1 - self.probability))

    def extra_repr(self) -> str:
        """Describe the parameter."""
        return f"probability={self.probability}"
