"""Running a row kernel on the CPU: torch's memory as numpy arrays, and rows shared among threads."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch

__all__ = ["as_rows", "as_tensor", "over_rows", "rows_of_mask"]

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
