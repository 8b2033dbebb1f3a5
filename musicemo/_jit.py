"""The numba decorator of all compiled loops."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import numba

__all__ = ["compiled"]

_P = ParamSpec("_P")
_R = TypeVar("_R")


def compiled(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Compile `function` at its first call, without the GIL, and keep the machine code on disk for later processes.

    Arithmetic is strictly IEEE 754, so a result does not depend on how the loop was vectorized. Division by zero
    gives what numpy gives.

    The machine code is kept beside the source, else in the user's cache directory or in ``NUMBA_CACHE_DIR``. If none
    of them can be written or read, the function is compiled once a process. An entry is stale when the file of the
    function itself changes: after an edit to `ops/_radix.py`, touch the files of the kernels that call it.
    """
    try:
        jitted: Any = numba.njit(cache=True, nogil=True, error_model="numpy")(function)
    except Exception:  # no directory for the cache; the type of the error depends on numba's release
        jitted = numba.njit(nogil=True, error_model="numpy")(function)
    cache = getattr(jitted, "_cache", None)
    for name in ("load_overload", "save_overload"):
        if method := getattr(cache, name, None):
            setattr(cache, name, _optional(method))
    result: Callable[_P, _R] = jitted
    return result


def _optional(method: Callable[..., Any]) -> Callable[..., Any]:
    """Return a method of numba's cache that returns None when it fails: a full disk, a damaged entry."""

    def attempt(*arguments: Any, **options: Any) -> Any:
        try:
            return method(*arguments, **options)
        except Exception:
            return None

    return attempt
