"""Isotonic regression in plain torch, without a step that waits for another along a row.

Divide and conquer: the fits of two neighbouring halves are joined by pooling the end of the left one with the
beginning of the right one, all pairs of all rows at once. The pooled level c is where what the left loses,
``sum_{v > c} (v - c)``, is what the right gains, ``sum_{v < c} (c - v)``; both are monotone in c, so two
searches find it. log2(n) joins of O(n log n) work, whatever the data.
"""

from __future__ import annotations

import torch

__all__ = ["pooled_starts"]


def _prefix(terms: torch.Tensor, log: bool) -> torch.Tensor:
    return terms.logcumsumexp(-1) if log else terms.cumsum(-1)


def _suffix(terms: torch.Tensor, log: bool) -> torch.Tensor:
    return _prefix(terms.flip(-1), log).flip(-1)


def pooled_starts(
    numerator: torch.Tensor, weight: torch.Tensor, valid: torch.Tensor, *, log: bool
) -> torch.Tensor:
    """Return where the blocks of the non-decreasing isotonic regression start, ``[rows, n]`` boolean.

    A block's level is its sum of `numerator` over its sum of `weight`; with `log`, both are logarithms.
    Neighbours of equal level share a block. Entries that are not `valid` must be last in their row.
    """
    rows, n = numerator.shape
    size = 1 << max(n - 1, 0).bit_length()
    nothing = -torch.inf if log else 0.0
    pad = (0, size - n)
    valid = torch.nn.functional.pad(valid, pad)
    weight = torch.nn.functional.pad(weight, pad).masked_fill(~valid, nothing)
    numerator = torch.nn.functional.pad(numerator, pad)
    level = (numerator - weight if log else numerator / weight).masked_fill(~valid, torch.inf)
    starts = torch.ones_like(valid)
    half = 1
    while half < size:
        shape = (rows, -1, 2, half)
        level, starts = _join(level.view(shape), weight.view(shape), valid.view(shape), starts.view(shape), log)
        level, starts = level.view(rows, size), starts.view(rows, size)
        half *= 2
    return starts[:, :n]


def _join(
    level: torch.Tensor, weight: torch.Tensor, valid: torch.Tensor, starts: torch.Tensor, log: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Join neighbouring fits ``[rows, pairs, 2, half]``."""
    half = level.shape[-1]
    terms = level + weight if log else level * weight
    terms = terms.masked_fill(~valid, -torch.inf if log else 0.0)
    (left, right), (_, usable) = level.unbind(2), valid.unbind(2)
    left, right = left.contiguous(), right.contiguous()
    (left_weight, right_weight), (left_terms, right_terms) = weight.unbind(2), terms.unbind(2)
    left_sum, left_weight = _suffix(left_terms, log), _suffix(left_weight, log)
    right_sum, right_weight = _prefix(right_terms, log), _prefix(right_weight, log)

    # What a pool from each left entry on would settle at, if it took in all lower entries of the right.
    lower = torch.searchsorted(right, left)
    take = (lower - 1).clamp(min=0)
    settled = _level(
        left_sum, left_weight, right_sum.gather(-1, take), right_weight.gather(-1, take), lower > 0, log
    )
    begin = half - (settled <= left).sum(-1, keepdim=True)
    begin = begin.clamp(max=half - 1)
    begin = torch.searchsorted(left, left.gather(-1, begin))  # the start of that entry's block

    # How far into the right a pool from there reaches.
    base_sum, base_weight = left_sum.gather(-1, begin), left_weight.gather(-1, begin)
    pooled = _level(base_sum, base_weight, right_sum, right_weight, usable, log)
    reach = ((pooled >= right) & usable).sum(-1, keepdim=True).clamp(min=1)
    reach = torch.searchsorted(right, right.gather(-1, reach - 1), right=True)
    new = pooled.gather(-1, (reach - 1).clamp(max=half - 1))

    needed = (left[..., -1:] >= right[..., :1]) & usable[..., :1]
    place = torch.arange(half, device=level.device)
    in_left, in_right = needed & (place >= begin), needed & (place < reach)
    level = torch.stack((torch.where(in_left, new, left), torch.where(in_right, new, right)), 2)
    first, second = starts.unbind(2)
    starts = torch.stack((first & ~(in_left & (place > begin)), second & ~in_right), 2)
    return level, starts


def _level(
    sum_left: torch.Tensor,
    weight_left: torch.Tensor,
    sum_right: torch.Tensor,
    weight_right: torch.Tensor,
    both: torch.Tensor,
    log: bool,
) -> torch.Tensor:
    """Return the level of two pooled pieces, or of the left one alone where not `both`."""
    nothing = -torch.inf if log else 0.0
    sum_right, weight_right = sum_right.where(both, nothing), weight_right.where(both, nothing)
    if log:
        return torch.logaddexp(sum_left, sum_right) - torch.logaddexp(weight_left, weight_right)
    return (sum_left + sum_right) / (weight_left + weight_right)
