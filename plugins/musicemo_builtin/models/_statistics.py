"""Statistics of a track's features over time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from musicemo.ops import masked_mean, masked_std, valid_steps

__all__ = ["ALL", "Statistic", "Statistics", "pooled"]

Statistic = Literal["mean", "std", "p10", "p90", "change"]
Statistics = Annotated[tuple[Statistic, ...], Field(min_length=1)]

ALL: tuple[Statistic, ...] = ("mean", "std", "p10", "p90", "change")


def pooled(x: Tensor, lengths: Tensor, statistics: Sequence[Statistic] = ALL) -> Tensor:
    """Return statistics of every feature row over a track's valid steps: `[batch, statistics * feature]`.

    - ``mean`` and ``std``: the mean and the standard deviation;
    - ``p10`` and ``p90``: the 10th and 90th percentile, interpolated linearly between steps;
    - ``change``: the standard deviation of the differences between neighboring steps, 0 for a single step.

    Args:
        x: `[batch, time, feature]`.
        lengths: `[batch]`.
        statistics: Names of the statistics, in the order of the result.
    """
    lengths = lengths.to(x.device)
    valid = valid_steps(lengths, x.shape[1])
    compute: dict[Statistic, Callable[[], Tensor]] = {
        "mean": lambda: masked_mean(x, valid),
        "std": lambda: masked_std(x, valid),
        "p10": lambda: _percentile(ordered, lengths, 0.1),
        "p90": lambda: _percentile(ordered, lengths, 0.9),
        "change": lambda: masked_std(x[:, 1:] - x[:, :-1], valid[:, 1:]),
    }
    if {"p10", "p90"} & set(statistics):
        ordered = x.masked_fill(~valid[:, :, None], torch.inf).sort(1).values
    return torch.cat([compute[name]() for name in statistics], 1)


def _percentile(ordered: Tensor, lengths: Tensor, share: float) -> Tensor:
    place = share * (lengths - 1)
    below = place.floor()
    steps = torch.stack([below, place.ceil()], 1).long()
    low, high = ordered.gather(1, steps[:, :, None].expand(-1, -1, ordered.shape[2])).unbind(1)
    return torch.lerp(low, high, (place - below)[:, None].to(ordered.dtype))
