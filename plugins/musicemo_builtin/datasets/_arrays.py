"""Look at a feature array on disk without reading it: only the header of the `.npy` file is touched."""

from __future__ import annotations

import math
from pathlib import Path
from typing import BinaryIO

import numpy as np

from musicemo.errors import InputError

__all__ = ["FUSED_ROWS", "array_shape"]

#: Rows of a fused array: 128 of the mel spectrogram and 12 of the chromagram.
FUSED_ROWS = 140


def array_shape(path: Path, rows: int | None = None) -> tuple[int, int]:
    """Return the shape `[rows, frames]` of a feature array from its header.

    The content is not read: whether every value is finite shows when the array is loaded.

    Args:
        path: A `.npy` file with a two-dimensional floating-point array.
        rows: How many rows the array must have; None takes any number.

    Raises:
        InputError: The file is missing, unreadable, truncated or no `.npy` file, or its array is pickled, not
            floating-point, not two-dimensional, empty, or of another number of rows.
    """
    try:
        with path.open("rb") as file:
            shape, dtype = _header(file)
            stored = path.stat().st_size - file.tell()
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None
    except ValueError as error:
        raise InputError(f"{path}: not a readable .npy file ({_first_line(error)})") from None

    if dtype.hasobject:
        raise InputError(
            f"{path}: holds pickled Python objects, which are never loaded because loading them can run any "
            "program; save a plain floating-point array with numpy.save(..., allow_pickle=False)"
        )
    if dtype.kind != "f":
        raise InputError(f"{path}: holds values of type {dtype}, expected floating-point numbers")
    wanted = f"[{rows if rows is not None else 'rows'}, frames]"
    if len(shape) != 2:
        hint = ""
        if len(shape) == 1:
            hint = f"; if it is one vector a track, save it as [{shape[0]}, 1] with array[:, None]"
        elif len(shape) == 3 and 1 in shape:
            hint = "; numpy.squeeze removes the axis of length 1"
        raise InputError(f"{path}: has shape {list(shape)}, expected {wanted}{hint}")
    if rows is not None and shape[0] != rows:
        hint = "; it looks transposed" if shape[1] == rows else ""
        raise InputError(f"{path}: has shape {list(shape)}, expected {wanted}{hint}")
    if 0 in shape:
        raise InputError(f"{path}: is empty, with shape {list(shape)}")
    if stored < math.prod(shape) * dtype.itemsize:
        raise InputError(f"{path}: is cut off, {stored} of {math.prod(shape) * dtype.itemsize} bytes are there")
    return shape[0], shape[1]


def _header(file: BinaryIO) -> tuple[tuple[int, ...], np.dtype[np.generic]]:
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    elif version == (2, 0):
        shape, _, dtype = np.lib.format.read_array_header_2_0(file)
    else:
        raise ValueError(f"format version {version[0]}.{version[1]}, expected 1.0 or 2.0")
    return shape, dtype


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
