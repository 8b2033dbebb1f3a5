"""Checks of feature arrays on disk that read only the header of the `.npy` file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from musicemo.contracts import Layout, find_layout
from musicemo.errors import InputError
from musicemo.features import array_header, npz_arrays, npz_header

__all__ = ["FUSED_ROWS", "ArrayForm", "array_form", "array_shape"]

#: Rows of a fused array: 128 of the mel spectrogram and 12 of the chromagram.
FUSED_ROWS = 140


#: Rows of the layers of common transformers -> their number, with and without the input of the first.
_LAYERS = {512: (6, 7), 768: (6, 7, 12, 13), 1024: (24, 25), 1280: (32, 33, 48, 49), 1920: (48, 49)}
#: Array of a `.npz` file with the times of the steps.
_EDGES = "edges"


@dataclass
class ArrayForm:
    """The form of a table's arrays: keys that read them, and a description."""

    #: Keys of the dataset's table.
    dataset: dict[str, Any] = field(default_factory=dict)
    #: The table ``[features]``; empty if the dataset recognizes the form itself.
    features: dict[str, Any] = field(default_factory=dict)
    remark: str = ""


def array_form(paths: Sequence[Path]) -> ArrayForm:
    """Recognize the form of arrays from their headers.

    Args:
        paths: A file for each track, `.npy` or `.npz`.

    Raises:
        InputError: A file cannot be read.
    """
    archives = [path.suffix.lower() == ".npz" for path in paths]
    names: list[str] = []
    if not any(archives):
        shapes = [array_shape(path) for path in paths]
    elif all(archives):
        names = [name for name in npz_arrays(paths[0]) if name != _EDGES]
        if not names:
            raise InputError(f"{paths[0]}: has no array")
        shapes = [npz_header(path, names[0]).shape for path in paths]
    else:
        raise InputError(f"{paths[0].parent}: has .npy and .npz files; a table needs files of one type")
    layout, rows, text = _recognized(shapes)
    form = ArrayForm(remark=f"the arrays are {text}")
    if names:
        form.features = {"type": "arrays", "keys": names[:1], "layout": layout}
        if len(names) > 1:
            form.remark += (
                f"; of the arrays {', '.join(names)} in each file, features.keys selects {names[0]!r}"
            )
    elif layout == "layers":
        form.features, form.dataset = {"type": "arrays", "layout": layout}, {"rows": rows}
    elif layout != "vector" and all(shape == shapes[0] for shape in shapes):
        form.dataset = {"rows": rows}
    return form


def _recognized(shapes: Sequence[tuple[int, ...]]) -> tuple[Layout, int, str]:
    """Return the layout of arrays of these shapes, their number of rows, and a description."""
    first = shapes[0]
    if len(first) == 1:
        return "vector", first[0], f"one vector of {first[0]} numbers per track"
    if any(len(shape) != 2 for shape in shapes):
        return "time-rows", first[-1], f"of several forms, such as {list(first)}"
    if (layout := find_layout([(shape[0], shape[1]) for shape in shapes])) is not None:
        axes, rows = ("[time, rows]", first[1]) if layout == "time-rows" else ("[rows, time]", first[0])
        return layout, rows, f"{axes}, with {rows} rows"
    if min(first) == 1:
        layout = "time-rows" if first[0] == 1 else "rows-time"
        return layout, max(first), f"{list(first)}, one vector of {max(first)} numbers per track"
    if first[0] in _LAYERS.get(first[1], ()):
        return (
            "layers",
            first[1],
            f"{list(first)} in every track, read as {first[0]} layers of {first[1]} numbers, one vector per track. If "
            f"they are {first[0]} time steps, delete [features]",
        )
    rows = FUSED_ROWS if FUSED_ROWS in first else max(first)
    layout, axes = ("time-rows", "[time, rows]") if first[1] == rows else ("rows-time", "[rows, time]")
    return (
        layout,
        rows,
        f"{list(first)} in every track, read as {axes} with {rows} rows. If the other axis has the rows, set rows = "
        f"{sum(first) - rows}",
    )


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
