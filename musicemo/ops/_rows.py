"""Running a row kernel on the CPU: torch's memory as numpy arrays, and rows shared among threads."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch

__all__ = ["as_rows", "over_rows", "rows_of_mask"]

_GRAIN = 16384  # entries below which waking a thread costs more than it saves
_pool: ThreadPoolExecutor | None = None


def as_rows(tensor: torch.Tensor) -> Any:
    """View a contiguous CPU tensor ``[..., n]`` as a numpy array ``[rows, n]`` that shares its memory."""
    array = tensor.detach().numpy()
    return array if array.ndim == 2 else array.reshape(-1, array.shape[-1])


def rows_of_mask(mask: torch.Tensor | None, rows: int) -> Any:
    """Return the mask as ``[rows, n]``, or ``[rows, 0]`` for none: the kernels' way to say it."""
    return np.empty((rows, 0), np.bool_) if mask is None else as_rows(mask)


def over_rows(kernel: Callable[[int, int], int], rows: int, n: int) -> int:
    """Call ``kernel(first, stop)`` for ranges that cover all rows; return the largest answer.

    The kernels hold no GIL, so a few plain threads share the rows; unlike numba's own, they survive a fork,
    may be entered from several threads at once, and heed `torch.set_num_threads`.
    """
    if rows == 1 or rows * n < _GRAIN:
        return kernel(0, rows)
    threads = min(torch.get_num_threads(), rows)
    bounds = [rows * i // threads for i in range(threads + 1)]
    others = [_executor().submit(kernel, bounds[i], bounds[i + 1]) for i in range(1, threads)]
    return max(kernel(0, bounds[1]), *(other.result() for other in others), -1)


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
