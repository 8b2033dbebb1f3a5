"""The same operations in plain torch, for tensors that are not in the CPU's memory.

A sort, the blocks of `_isotonic`, then sums over blocks; the order and its marks are those of the CPU kernels.
Computed in float64 where the device has it (MPS has not). One flag is copied to the host: whether every
entry is finite.
"""

from __future__ import annotations

import torch

from musicemo.ops._checks import refuse_row
from musicemo.ops._isotonic import pooled_starts

__all__ = ["rank_state", "rank_vjp", "sort_state", "sort_vjp"]


class _Blocks:
    """Sums over the blocks of sorted rows ``[rows, n]``, given back at every entry."""

    def __init__(self, starts: torch.Tensor) -> None:
        self._ids = starts.cumsum(-1) - 1
        place = torch.arange(starts.shape[-1], device=starts.device).expand(starts.shape)
        self.first = place.where(starts, 0).cummax(-1).values
        self.count = self.sum(torch.ones_like(place))

    def sum(self, terms: torch.Tensor) -> torch.Tensor:
        """Return each entry's block sum."""
        return torch.zeros_like(terms).scatter_add(-1, self._ids, terms).gather(-1, self._ids)


def _sorted(
    values: torch.Tensor, mask: torch.Tensor | None, descending: bool
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return sorted keys, positions and validity, ``[rows, n]``; what is masked comes last."""
    rows = values.reshape(-1, values.shape[-1])
    valid = torch.ones_like(rows, dtype=torch.bool) if mask is None else mask.reshape(rows.shape)
    if not bool((rows.isfinite() | ~valid).all()):
        refuse_row(values, mask)
    keys = rows.to(torch.float32 if rows.device.type == "mps" else torch.float64)
    keys, turn = (-keys if descending else keys).masked_fill(~valid, torch.inf).sort(-1)
    valid = valid.gather(-1, turn)
    return keys.masked_fill(~valid, 0.0), turn, valid


def _marked(turn: torch.Tensor, starts: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    return torch.where(starts, ~turn, turn).to(torch.int32).view(shape)


def _unmarked(order: torch.Tensor) -> tuple[torch.Tensor, _Blocks]:
    rows = order.reshape(-1, order.shape[-1])
    starts = rows < 0
    return torch.where(starts, ~rows, rows).long(), _Blocks(starts)


def rank_state(
    values: torch.Tensor, mask: torch.Tensor | None, step: float, kl: bool, descending: bool, centred: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the soft ranks and the marked order; with `step` 0, the ranks with ties averaged."""
    keys, turn, valid = _sorted(values, mask, descending)
    number = valid.sum(-1, keepdim=True)
    place = torch.arange(keys.shape[-1], device=keys.device).expand(keys.shape)
    gaps = keys.diff(dim=-1, prepend=keys[:, :1])
    if step == 0.0:
        starts = (gaps > 0.0) | (place == 0) | ~valid
    else:
        reach = (number.log() if kl else number).to(keys.dtype) + 1.0  # no block spans a wider gap
        height = (gaps / step).clamp(0.0).minimum(reach).cumsum(-1)
        weight = (place + 1.0).to(keys.dtype)
        if kl:
            starts = pooled_starts(height, weight.log(), valid, log=True)
        else:
            starts = pooled_starts(height - place, torch.ones_like(weight), valid, log=False)
    blocks = _Blocks(starts)
    middle = blocks.first + 0.5 * (blocks.count + 1.0)  # the mean of the block's ranks
    if step == 0.0:
        ranks = middle.to(keys.dtype)
    elif kl:
        share = ((keys - keys.gather(-1, blocks.first + blocks.count - 1)) / step).exp()
        ranks = share * middle.to(keys.dtype) * blocks.count / blocks.sum(share)
    else:
        offset = (keys - keys.gather(-1, blocks.first)) / step
        if centred:
            middle = middle - 0.5 * (number + 1.0)
        ranks = offset - blocks.sum(offset) / blocks.count + middle.to(keys.dtype)
    ranks = ranks.masked_fill(~valid, 0.0)
    ranks = torch.empty_like(ranks).scatter(-1, turn, ranks)
    return ranks.to(values.dtype).view(values.shape), _marked(turn, starts, values.shape)


def rank_vjp(grad: torch.Tensor, order: torch.Tensor, ranks: torch.Tensor | None, scale: float) -> torch.Tensor:
    """Product of `grad` with the Jacobian of the soft ranks; `ranks` are given for the entropic ones."""
    turn, blocks = _unmarked(order)
    g = grad.reshape(turn.shape).gather(-1, turn)
    if ranks is None:
        product = (g - blocks.sum(g) / blocks.count) * scale
    else:
        r = ranks.reshape(turn.shape).gather(-1, turn)
        middle = blocks.first + 0.5 * (blocks.count + 1.0)
        product = (g - blocks.sum(g * r) / (middle * blocks.count).to(g.dtype)) * scale * r
    product = product.masked_fill(blocks.count == 1, 0.0)
    return torch.zeros_like(product).scatter(-1, turn, product).view(grad.shape)


def sort_state(
    values: torch.Tensor, mask: torch.Tensor | None, step: float, kl: bool, descending: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the soft sorted rows and the marked order."""
    keys, turn, valid = _sorted(values, mask, descending)
    place = torch.arange(keys.shape[-1], device=keys.device, dtype=keys.dtype).expand(keys.shape)
    if kl:
        starts = pooled_starts(-keys, -place / step, valid, log=True)
    else:
        starts = pooled_starts(place - step * (keys - keys[:, :1]), torch.ones_like(keys), valid, log=False)
    blocks = _Blocks(starts)
    base = keys.gather(-1, blocks.first)
    along = (place - blocks.first) / step
    if kl:
        result = base + along + blocks.sum((-along).exp()).log() - blocks.sum((base - keys).exp()).log()
    else:
        along = (place - blocks.first - 0.5 * (blocks.count - 1.0)) / step
        result = base + blocks.sum(keys - base) / blocks.count + along
    result = (-result if descending else result).masked_fill(~valid, 0.0)
    return result.to(values.dtype).view(values.shape), _marked(turn, starts, values.shape)


def sort_vjp(
    grad: torch.Tensor, order: torch.Tensor, values: torch.Tensor, kl: bool, descending: bool
) -> torch.Tensor:
    """Product of `grad` with the Jacobian of the soft sort."""
    turn, blocks = _unmarked(order)
    g = grad.reshape(turn.shape)
    if kl:
        keys = values.reshape(turn.shape).gather(-1, turn)
        keys = -keys if descending else keys
        share = (keys.gather(-1, blocks.first) - keys).exp()
        product = blocks.sum(g) * share / blocks.sum(share)
    else:
        product = blocks.sum(g) / blocks.count
    return torch.zeros_like(product).scatter(-1, turn, product).view(grad.shape)
