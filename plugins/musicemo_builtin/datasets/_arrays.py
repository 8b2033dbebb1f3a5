"""Checks of feature arrays on disk that read only the header of the `.npy` file."""

from __future__ import annotations

from pathlib import Path

from musicemo.errors import InputError
from musicemo.features import array_header

__all__ = ["FUSED_ROWS", "array_shape"]

#: Rows of a fused array: 128 of the mel spectrogram and 12 of the chromagram.
FUSED_ROWS = 140


def array_shape(path: Path, rows: int | None = None) -> tuple[int, ...]:
    """Return the shape of a feature array from its header.

    The content is not read: whether every value is finite shows when the array is loaded.

    Args:
        path: A `.npy` file with a floating-point array of one or two axes.
        rows: The array must be `[rows, frames]` with so many rows; None takes any shape.

    Raises:
        InputError: The file is missing, unreadable, truncated or no `.npy` file, or its array is pickled, not
            floating-point, empty, of more axes, or of another number of rows.
    """
    try:
        header, stored = array_header(path)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None
    except ValueError as error:
        raise InputError(f"{path}: not a readable .npy file ({error})") from None

    shape, dtype = header.shape, header.dtype
    if dtype.hasobject:
        raise InputError(
            f"{path}: contains pickled Python objects, which are not loaded because that can execute arbitrary code. "
            "Save a plain floating-point array with numpy.save(..., allow_pickle=False)"
        )
    if dtype.kind != "f":
        raise InputError(f"{path}: contains values of type {dtype}, expected floating-point numbers")
    if len(shape) not in (1, 2):
        hint = "; numpy.squeeze removes the axis of length 1" if len(shape) == 3 and 1 in shape else ""
        raise InputError(f"{path}: has shape {list(shape)}, expected two axes, or one for a vector{hint}")
    if rows is not None and (len(shape) != 2 or shape[0] != rows):
        hint = "; it looks transposed" if shape[-1] == rows else ""
        raise InputError(f"{path}: has shape {list(shape)}, expected [{rows}, frames]{hint}")
    if 0 in shape:
        raise InputError(f"{path}: is empty, with shape {list(shape)}")
    if stored < header.nbytes:
        raise InputError(f"{path}: is truncated: {stored} of {header.nbytes} bytes are present")
    if stored > header.nbytes:
        raise InputError(
            f"{path}: {stored - header.nbytes} bytes follow its array; the file must hold one array, as numpy.save "
            "writes it"
        )
    return shape
