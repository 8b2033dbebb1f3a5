"""A learned weighted sum of layers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["WeightedSum"]


class WeightedSum(nn.Module):
    """A weighted sum of layers of equal size, with learned weights that are positive and add up to one.

    For layers x[l] of a step, l = 1 ... L:

        y = sum_l a[l] x[l],   a = softmax(s)

    s is trained and begins at zero, so that the first output is the mean of the layers.

    S. Yang and others, "SUPERB: Speech Processing Universal PERformance Benchmark", Interspeech 2021, for the layers of
    pretrained networks.

    Args:
        layers: Number of layers, L.
    """

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.scores = nn.Parameter(torch.zeros(layers))

    @property
    def weights(self) -> Tensor:
        """The current weights a, `[layers]`, without gradient."""
        return torch.softmax(self.scores.detach(), 0)

    def forward(self, x: Tensor) -> Tensor:
        """Return `[batch, time, rows]` for layers that are concatenated: `x` `[batch, time, layers * rows]`."""
        layers = x.reshape(*x.shape[:-1], len(self.scores), -1)
        return torch.einsum("l,...lr->...r", torch.softmax(self.scores, 0).to(x.dtype), layers)
