"""Dispatch of the operations: compiled kernels for CPU memory, plain torch for other devices.

The kernels are imported when they are first needed, because importing numba takes half a second.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch

from musicemo.ops import _portable
from musicemo.ops._checks import refuse_row

__all__ = [
    "as_rows",
    "as_tensor",
    "over_rows",
    "rank_state",
    "rank_vjp",
    "rows_of_mask",
    "sort_state",
    "sort_vjp",
]

_GRAIN = 1 << 17  # entries, some milliseconds of work, below which waking a thread may cost more than it saves
_pool: ThreadPoolExecutor | None = None


def as_rows(tensor: torch.Tensor) -> Any:
    """View a contiguous CPU tensor ``[..., n]`` as a numpy array ``[rows, n]`` that shares its memory."""
    array = (tensor.detach() if tensor.requires_grad else tensor).numpy()
    return array if array.ndim == 2 else array.reshape(-1, array.shape[-1])


def as_tensor(rows: Any, shape: torch.Size) -> torch.Tensor:
    """View rows that numpy allocated, which is quicker for small ones, as a tensor of the given shape."""
    tensor = torch.from_numpy(rows)
    return tensor if len(shape) == 2 else tensor.view(shape)


def rows_of_mask(mask: torch.Tensor | None, rows: int) -> Any:
    """Return the mask as ``[rows, n]``, or ``[rows, 0]`` for none: the kernels' way to say it."""
    return np.empty((rows, 0), np.bool_) if mask is None else as_rows(mask)


def over_rows(kernel: Callable[[int, int], int], rows: int, n: int) -> int:
    """Call ``kernel(first, stop)`` for ranges that cover all rows; return the largest answer.

    The kernels hold no GIL, so a few plain threads share the rows; unlike numba's own, they survive a fork,
    may be entered from several threads at once, and heed `torch.set_num_threads`. Each takes the next piece
    when it is done with the last: on a busy machine nothing waits for a thread that has not started.
    """
    threads = 1 if rows * n < _GRAIN else min(torch.get_num_threads(), rows)
    if threads == 1:
        return kernel(0, rows)
    pieces = min(rows, rows * n * 8 // _GRAIN)
    numbers = itertools.count()

    def work() -> int:
        answer = -1
        while (piece := next(numbers)) < pieces:
            answer = max(answer, kernel(rows * piece // pieces, rows * (piece + 1) // pieces))
        return answer

    others = [_executor().submit(work) for _ in range(threads - 1)]
    answer = work()
    return max([answer, *(other.result() for other in others if not other.cancel())])


def _executor() -> ThreadPoolExecutor:
    global _pool
    if _pool is None:
        _pool = ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="musicemo-ops")
    return _pool


def _forget() -> None:
    global _pool
    _pool = None  # a forked child has none of its parent's threads


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


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
