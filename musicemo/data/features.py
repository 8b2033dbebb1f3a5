"""Feature arrays of tracks: checked, scaled, in memory if they fit, otherwise memory-mapped."""

from __future__ import annotations

import logging
import operator
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from musicemo.contracts import Track, check_orientation
from musicemo.data.scaling import Scaling
from musicemo.errors import InputError
from musicemo.features import array_header, map_array

__all__ = ["Features", "normalize_rows", "rows_numbers", "rows_text"]

_log = logging.getLogger(__name__)

Array = NDArray[np.float32]

#: Tracks whose arrays are looked at to find out how high they are.
_SAMPLE = 20


class Features:
    """The features of a sequence of tracks, each `[time, feature]` in float32.

    Args:
        tracks: the tracks.
        rows: the feature rows to read.
        cache: ``memory`` keeps the scaled features of every track after the first access; ``disk`` reads them each time
            through a memory map; ``auto`` is ``memory`` if that takes at most half of the free memory.

    Raises:
        InputError: an array cannot be read, or its shape is not `[rows, frames]`.
    """

    def __init__(self, tracks: Sequence[Track], rows: slice, cache: str = "auto") -> None:
        self._tracks = tracks
        self._rows = rows = normalize_rows(rows, tracks)
        self._scaling: Scaling | None = None
        shapes = [_shape(track, rows) for track in tracks]
        self.size = len(range(rows.start, rows.stop, rows.step or 1)) if shapes else 0
        if shapes and (rows.stop < shapes[0][0] or len({height for height, _ in shapes}) > 1):
            _check_heights(tracks, shapes)
        #: Frames of every track.
        self.lengths = np.array([shape[1] for shape in shapes], dtype=np.int64)
        needed = int(self.lengths.sum()) * self.size * 4
        in_memory = cache == "memory" or (cache == "auto" and needed <= _free_memory() // 2)
        self._kept: list[Array | None] | None = [None] * len(tracks) if in_memory else None

    def __len__(self) -> int:
        return len(self._tracks)

    def scale(self, scaling: Scaling) -> None:
        """Set the scaling of all features that are read from now on. Call it only once."""
        self._scaling = scaling
        if self._kept is not None:
            self._kept = [None if kept is None else scaling(kept) for kept in self._kept]

    def __getitem__(self, index: int) -> Array:
        """Return one track's features, scaled.

        Raises:
            InputError: the array has a value that is not finite, or cannot be read.
        """
        if self._kept is not None and (kept := self._kept[index]) is not None:
            return kept
        features = self._read(self._tracks[index])
        if self._scaling is not None:
            features = self._scaling(features)
        if self._kept is not None:
            self._kept[index] = features
        return features

    def check(self, indices: NDArray[np.intp]) -> None:
        """Read the features of some tracks, to check before training that all can be read and are finite."""
        for index in indices:
            self[int(index)]

    def select(self, indices: Sequence[int] | NDArray[np.intp]) -> Iterator[Array]:
        """Yield the features of some tracks."""
        return (self[int(index)] for index in indices)

    def _read(self, track: Track) -> Array:
        array = _open(track)
        with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is told below
            features = np.ascontiguousarray(array[self._rows].T, dtype=np.float32)
        if isinstance(track.features, Path) and not features.flags.owndata:
            features = features.copy()  # a map that is kept would keep its file open
        if not np.isfinite(features).all():
            frame, chosen = (int(where) for where in np.argwhere(~np.isfinite(features))[0])
            row = range(*self._rows.indices(len(array)))[chosen]
            raise InputError(f"{_where(track)}: is {array[row, frame]} at row {row}, frame {frame}")
        return features


def normalize_rows(rows: slice, tracks: Sequence[Track]) -> slice:
    """Return the slice of feature rows as non-negative numbers, with a step only if it is not 1.

    ``slice(None)`` and ``slice(-12, None)`` depend on the number of rows, which is taken from the first track.

    Raises:
        InputError: The slice does not have whole numbers and a positive step, or it selects no row.
    """
    try:
        start, stop, step = (
            None if end is None else operator.index(end) for end in (rows.start, rows.stop, rows.step)
        )
    except (AttributeError, TypeError):
        raise InputError(
            f"the dataset's rows are {rows!r}; they must be a slice of whole numbers, such as slice(0, 12)"
        ) from None
    start, step = start or 0, 1 if step is None else step
    if step < 1:
        raise InputError(f"the dataset's rows are {rows!r}; the step must be positive")
    if start < 0 or stop is None or stop < 0:
        if not tracks:
            return rows
        shapes = [_layout(track) for track in tracks[:_SAMPLE]]
        height = shapes[0][0]
        if start < -height:
            raise InputError(f"{_where(tracks[0])}: has {height} rows, but the dataset's rows are {rows!r}")
        if len({shape[0] for shape in shapes}) == 1 and (turned := check_orientation(shapes)):
            if turned.certain:
                raise InputError(f"{_where(tracks[0])}: {turned.message}")
            _log.warning(
                f"{turned.message}. If they do have {height} rows, the dataset must declare slice(0, {height}) "
                "as its rows"
            )
        start, stop, step = slice(start, stop, step).indices(height)
    selected = range(start, stop, step)
    if not selected:
        raise InputError(f"the dataset's rows are {rows!r}, but must select at least one row")
    return slice(start, stop) if step == 1 else slice(start, selected[-1] + 1, step)


def rows_numbers(rows: slice) -> list[int]:
    """Return the start and the stop of normalized rows, and their step if it is not 1."""
    return [rows.start, rows.stop, *([] if rows.step is None else [rows.step])]


def rows_text(rows: slice) -> str:
    """Return normalized rows as text for messages."""
    return f"{rows.start} to {rows.stop}" + ("" if rows.step is None else f" in steps of {rows.step}")


def _free_memory() -> int:
    """Return the free memory in bytes; if the system does not report it, the memory of the machine."""
    name = "SC_AVPHYS_PAGES" if "SC_AVPHYS_PAGES" in os.sysconf_names else "SC_PHYS_PAGES"
    return os.sysconf(name) * os.sysconf("SC_PAGE_SIZE")


def _where(track: Track) -> str:
    place = f" ({track.features})" if isinstance(track.features, Path) else ""
    return f"track {track.id!r}{place}"


def _open(track: Track) -> NDArray[np.floating]:
    if not isinstance(track.features, Path):
        return track.features
    try:
        return map_array(track.features)
    except (OSError, ValueError) as error:
        raise _unreadable(track, error) from error


def _unreadable(track: Track, error: OSError | ValueError) -> InputError:
    if isinstance(error, FileNotFoundError):
        return InputError(f"{_where(track)}: there is no such file")
    return InputError(f"{_where(track)}: cannot be read as a plain .npy array: {error}")


def _layout(track: Track) -> tuple[int, int]:
    """Return the shape of a track's array. Of a file, only the header is read."""
    array = track.features
    if isinstance(array, Path):
        try:
            header, stored = array_header(array)
            header.check(stored)
        except (OSError, ValueError) as error:
            raise _unreadable(track, error) from error
        shape, dtype = header.shape, header.dtype
    elif isinstance(array, np.ndarray):
        shape, dtype = array.shape, array.dtype
    else:
        raise InputError(
            f"{_where(track)}: must be a floating-point array [rows, frames], not {type(array).__name__}"
        )
    if len(shape) != 2 or dtype.kind != "f":
        raise InputError(
            f"{_where(track)}: must be a floating-point array [rows, frames], not {dtype} {list(shape)}"
        )
    return shape[0], shape[1]


def _shape(track: Track, rows: slice) -> tuple[int, int]:
    """Return an array's shape if it has the rows and a frame."""
    height, frames = _layout(track)
    if frames == 0 or rows.stop > height:
        raise InputError(
            f"{_where(track)}: has shape {[height, frames]}, but needs rows {rows_text(rows)} and at least one frame"
        )
    return height, frames


def _check_heights(tracks: Sequence[Track], shapes: Sequence[tuple[int, int]]) -> None:
    """Raise an `InputError` if arrays differ in their number of rows, or are certainly transposed."""
    turned = check_orientation(shapes)
    if turned and turned.certain:
        raise InputError(f"{_where(tracks[0])} has shape {list(shapes[0])}: {turned.message}")
    for track, (height, _) in zip(tracks, shapes, strict=True):
        if height != shapes[0][0]:
            raise InputError(
                f"{_where(track)}: has {height} rows, but track {tracks[0].id!r} has {shapes[0][0]}"
                + (f"; {turned.message}" if turned else "")
            )
