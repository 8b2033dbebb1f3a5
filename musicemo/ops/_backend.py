"""Dispatch of the operations: compiled kernels for CPU memory, plain torch for other devices.

The kernels are imported when they are first needed, because importing numba takes half a second.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from musicemo.ops import _portable
from musicemo.ops._checks import refuse_row
from musicemo.ops._rows import as_rows, as_tensor, over_rows, rows_of_mask

__all__ = ["rank_state", "rank_vjp", "sort_state", "sort_vjp"]


def has_kernels(tensor: torch.Tensor) -> bool:
    """Return whether the kernels can access the tensor's memory."""
    return tensor.device.type == "cpu"


def gradient_rows(grad: torch.Tensor) -> Any:
    """Return a gradient `[rows, n]` for the kernels; None if they cannot access it."""
    if not has_kernels(grad):
        return None
    try:
        return as_rows(grad)
    except RuntimeError:  # a batched tensor (vmap over backward passes) has no memory of its own
        return None


def rank_state(
    values: torch.Tensor, mask: torch.Tensor | None, step: float, kl: bool, descending: bool, centred: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the ranks, and the order with its blocks marked (`_rank_kernels`), of contiguous values."""
    if not has_kernels(values):
        return _portable.rank_state(values, mask, step, kl, descending, centred)
    from musicemo.ops import _rank_kernels

    x = as_rows(values)
    m, r, o = rows_of_mask(mask, len(x)), np.empty_like(x), np.empty(x.shape, np.int32)

    def rows(first: int, stop: int) -> int:
        answer: int = _rank_kernels.rank_rows(x, m, r, o, first, stop, step, kl, descending, centred)
        return answer

    if over_rows(rows, *x.shape) >= 0:
        refuse_row(values, mask)
    return as_tensor(r, values.shape), as_tensor(o, values.shape)


def rank_vjp(
    grad: torch.Tensor, order: torch.Tensor, ranks: torch.Tensor, scale: float, kl: bool
) -> torch.Tensor:
    """Return the product of `grad`, contiguous, with the Jacobian of the soft ranks; "l2" ignores `ranks`."""
    g = gradient_rows(grad)
    if g is None:
        return _portable.rank_vjp(grad, order, ranks if kl else None, scale)
    from musicemo.ops import _rank_kernels

    o, r, p = as_rows(order), as_rows(ranks) if kl else g, np.empty_like(g)

    def rows(first: int, stop: int) -> int:
        answer: int = _rank_kernels.rank_vjp_rows(o, g, r, p, first, stop, scale, kl)
        return answer

    over_rows(rows, *g.shape)
    return as_tensor(p, grad.shape)


def sort_state(
    values: torch.Tensor, mask: torch.Tensor | None, step: float, kl: bool, descending: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the softly sorted rows and the marked order, of contiguous values."""
    if not has_kernels(values):
        return _portable.sort_state(values, mask, step, kl, descending)
    from musicemo.ops import _sort_kernels

    x = as_rows(values)
    m, s, o = rows_of_mask(mask, len(x)), np.empty_like(x), np.empty(x.shape, np.int32)

    def rows(first: int, stop: int) -> int:
        answer: int = _sort_kernels.sort_rows(x, m, s, o, first, stop, step, kl, descending)
        return answer

    if over_rows(rows, *x.shape) >= 0:
        refuse_row(values, mask)
    return as_tensor(s, values.shape), as_tensor(o, values.shape)


def sort_vjp(
    grad: torch.Tensor,
    order: torch.Tensor,
    values: torch.Tensor,
    mask: torch.Tensor | None,
    kl: bool,
    descending: bool,
) -> torch.Tensor:
    """Return the product of `grad`, contiguous, with the Jacobian of the soft sort; 0 for masked entries."""
    if mask is not None:
        values = values.masked_fill(~mask, 0.0)
        return _sort_vjp(grad, order, values, kl, descending).masked_fill(~mask, 0.0)
    return _sort_vjp(grad, order, values, kl, descending)


def _sort_vjp(
    grad: torch.Tensor, order: torch.Tensor, values: torch.Tensor, kl: bool, descending: bool
) -> torch.Tensor:
    g = gradient_rows(grad)
    if g is None:
        return _portable.sort_vjp(grad, order, values, kl, descending)
    from musicemo.ops import _sort_kernels

    o, x, p = as_rows(order), as_rows(values), np.empty_like(g)

    def rows(first: int, stop: int) -> int:
        answer: int = _sort_kernels.sort_vjp_rows(o, g, x, p, first, stop, kl, descending)
        return answer

    over_rows(rows, *g.shape)
    return as_tensor(p, grad.shape)
