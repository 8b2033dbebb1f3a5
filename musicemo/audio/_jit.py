"""How this package compiles its loops."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

import numba

__all__ = ["compiled"]

_P = ParamSpec("_P")
_R = TypeVar("_R")


def compiled(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Compile `function` when it is first called; the machine code is kept on disk for later processes.

    Arithmetic is strictly IEEE 754, so that what is computed does not depend on how it was vectorised.
    Division by zero gives what numpy gives, and the interpreter's lock is released.
    """
    jitted: Callable[_P, _R] = numba.njit(cache=True, nogil=True, error_model="numpy")(function)
    return jitted
