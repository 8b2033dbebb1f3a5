"""The numba decorator of this package: compiled at the first call, kept on disk between processes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit

__all__ = ["kernel"]


def kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile `function` at its first call, without the GIL, and cache the machine code on disk.

    The cache lies beside the source, else in the user's cache directory or in ``NUMBA_CACHE_DIR``; where none
    of them can be written, the code is compiled once a process. An entry is stale when the file of the
    function itself changes: after an edit to `_radix.py`, touch the files of the kernels that call it.
    """
    try:
        compiled: Callable[..., Any] = njit(function, cache=True, nogil=True, error_model="numpy")
    except RuntimeError:  # "cannot cache function: no locator available"
        compiled = njit(function, nogil=True, error_model="numpy")
    return compiled
