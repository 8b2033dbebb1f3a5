"""Masks, averages and repetitions of the valid time steps of a padded batch."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["AttentionPool", "masked_mean", "masked_std", "repeat_steps", "valid_steps"]


def valid_steps(lengths: Tensor, steps: int) -> Tensor:
    """Return the mask of a padded batch: `[batch, steps]`, true where a step lies before its track's length.

    Args:
        lengths: `[batch]`.
        steps: Number of time steps of the batch.
    """
    return torch.arange(steps, device=lengths.device) < lengths[:, None]


def masked_mean(x: Tensor, valid: Tensor | None = None) -> Tensor:
    """Average over time: the mean of each track's valid steps, `[batch, ...]`.

    Args:
        x: `[batch, time, ...]`.
        valid: Mask `[batch, time]`, with at least one valid step per track, or None without padding.
    """
    if valid is None:
        return x.mean(1)
    mask = valid.reshape(valid.shape + (1,) * (x.dim() - 2))
    mean: Tensor = x.masked_fill(~mask, 0).sum(1) / mask.sum(1)
    return mean


def masked_std(x: Tensor, valid: Tensor) -> Tensor:
    """Compute the standard deviation over time: that of each track's valid steps (over their number), `[batch, ...]`.

    Where it is 0, as for a single step, its gradient is 0.

    Args:
        x: `[batch, time, ...]`.
        valid: Mask `[batch, time]`. The deviation of a track without valid steps is 0.
    """
    mask = valid.reshape(valid.shape + (1,) * (x.dim() - 2))
    count = mask.sum(1).clamp(min=1)
    mean = x.masked_fill(~mask, 0).sum(1) / count
    variance = (x - mean[:, None]).square().masked_fill(~mask, 0).sum(1) / count
    constant = variance == 0
    return variance.masked_fill(constant, 1).sqrt().masked_fill(constant, 0)


def repeat_steps(x: Tensor, factor: int, lengths: Tensor, steps: int) -> Tensor:
    """Undo the pooling of time: repeat each step, and return `[batch, steps, ...]`, zero beyond each track's length.

    Args:
        x: `[batch, time, ...]` with time >= steps / factor.
        factor: Number of steps that a step of `x` stands for.
        lengths: `[batch]`, in the repeated steps.
        steps: Number of repeated steps.
    """
    repeated = x.repeat_interleave(factor, 1)[:, :steps]
    beyond = ~valid_steps(lengths, steps)
    return repeated.masked_fill(beyond.reshape(beyond.shape + (1,) * (x.dim() - 2)), 0)


class AttentionPool(nn.Module):
    """Additive attention over time: a weighted mean of each track's valid steps, with learned weights.

    For the valid steps t of a track:

        y = sum_t a[t] x[t],   a = softmax_t(v . tanh(W x[t] + b))

    D. Bahdanau, K. Cho and Y. Bengio, "Neural Machine Translation by Jointly Learning to Align and Translate", ICLR
    2015.

    Args:
        size: Number of values of a step; W is `[size, size]`.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.project = nn.Linear(size, size)
        self.score = nn.Linear(size, 1, bias=False)

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """Return `[batch, size]` for `x` `[batch, time, size]` and the mask `valid` `[batch, time]`."""
        return torch.einsum("bt,bte->be", self.weights(x, valid), x)

    def weights(self, x: Tensor, valid: Tensor) -> Tensor:
        """Return the weights a `[batch, time]`, which are 0 beyond the valid steps."""
        scores = self.score(torch.tanh(self.project(x))).squeeze(2)
        return torch.softmax(scores.masked_fill(~valid, -torch.inf), 1)
