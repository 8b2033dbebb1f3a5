"""Statistics of a track's features over time."""

from __future__ import annotations

import torch
from torch import Tensor

from musicemo.ops import masked_mean, masked_std, valid_steps

__all__ = ["pooled"]


def pooled(x: Tensor, lengths: Tensor) -> Tensor:
    """Return five statistics of every feature row over a track's valid steps: `[batch, 5 * feature]`.

    The mean, the standard deviation, the 10th and 90th percentile (interpolated linearly between steps), and the
    standard deviation of the differences between neighboring steps, which is 0 for a single step.

    Args:
        x: `[batch, time, feature]`.
        lengths: `[batch]`.
    """
    lengths = lengths.to(x.device)
    valid = valid_steps(lengths, x.shape[1])
    ordered = x.masked_fill(~valid[:, :, None], torch.inf).sort(1).values
    differences = x[:, 1:] - x[:, :-1]
    return torch.cat(
        [
            masked_mean(x, valid),
            masked_std(x, valid),
            _percentile(ordered, lengths, 0.1),
            _percentile(ordered, lengths, 0.9),
            masked_std(differences, valid[:, 1:]),
        ],
        1,
    )


def _percentile(ordered: Tensor, lengths: Tensor, share: float) -> Tensor:
    place = share * (lengths - 1)
    below = place.floor()
    steps = torch.stack([below, place.ceil()], 1).long()
    low, high = ordered.gather(1, steps[:, :, None].expand(-1, -1, ordered.shape[2])).unbind(1)
    return torch.lerp(low, high, (place - below)[:, None].to(ordered.dtype))
