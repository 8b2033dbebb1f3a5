"""Feature arrays of tracks: checked, scaled, in memory where they fit and memory-mapped where not."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from musicemo.contracts import Track
from musicemo.data.scaling import Scaling
from musicemo.errors import InputError

__all__ = ["Features"]

Array = NDArray[np.float32]


class Features:
    """The features of a sequence of tracks, each `[time, feature]` in float32.

    Args:
        tracks: where the features are.
        rows: which rows of them to read.
        cache: ``memory`` keeps every track's features once read, scaled; ``disk`` reads them each time, through
            a memory map; ``auto`` is memory where that takes at most half of what is free.

    Raises:
        InputError: an array that cannot be read, or whose shape is not `[rows, frames]`.
    """

    def __init__(self, tracks: Sequence[Track], rows: slice, cache: str = "auto") -> None:
        self._tracks = tracks
        self._rows = rows
        self._scaling: Scaling | None = None
        shapes = [_shape(track, rows) for track in tracks]
        self.size = shapes[0][0] if shapes else 0
        for track, shape in zip(tracks, shapes, strict=True):
            if shape[0] != self.size:
                raise InputError(
                    f"{_where(track)}: has {shape[0]} rows where track {tracks[0].id!r} has {self.size}"
                )
        #: Frames of every track.
        self.lengths = np.array([shape[1] for shape in shapes], dtype=np.int64)
        needed = int(self.lengths.sum()) * self.size * 4
        in_memory = cache == "memory" or (cache == "auto" and needed <= _free_memory() // 2)
        self._kept: list[Array | None] | None = [None] * len(tracks) if in_memory else None

    def __len__(self) -> int:
        return len(self._tracks)

    def scale(self, scaling: Scaling) -> None:
        """Scale whatever is read from now on; once only."""
        self._scaling = scaling
        if self._kept is not None:
            self._kept = [None if kept is None else scaling(kept) for kept in self._kept]

    def __getitem__(self, index: int) -> Array:
        """Return one track's features, scaled.

        Raises:
            InputError: the array holds a value that is not finite, or cannot be read.
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
        """Read some tracks' features, to know before training that all can be read and are finite."""
        for index in indices:
            self[int(index)]

    def select(self, indices: Sequence[int] | NDArray[np.intp]) -> Iterator[Array]:
        """Yield the features of some tracks."""
        return (self[int(index)] for index in indices)

    def _read(self, track: Track) -> Array:
        array = _open(track)
        with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is told below
            features = np.ascontiguousarray(array[self._rows].T, dtype=np.float32)
        if not np.isfinite(features).all():
            frame, chosen = (int(where) for where in np.argwhere(~np.isfinite(features))[0])
            row = range(*self._rows.indices(len(array)))[chosen]
            raise InputError(f"{_where(track)}: is {array[row, frame]} at row {row}, frame {frame}")
        return features


def _free_memory() -> int:
    """Return the memory, in bytes, that is free; where the system does not tell, what the machine has."""
    name = "SC_AVPHYS_PAGES" if "SC_AVPHYS_PAGES" in os.sysconf_names else "SC_PHYS_PAGES"
    return os.sysconf(name) * os.sysconf("SC_PAGE_SIZE")


def _where(track: Track) -> str:
    place = f" ({track.features})" if isinstance(track.features, Path) else ""
    return f"track {track.id!r}{place}"


def _open(track: Track) -> NDArray[np.floating]:
    if not isinstance(track.features, Path):
        return track.features
    try:
        array: NDArray[np.floating] = np.lib.format.open_memmap(track.features, mode="r")  # never unpickles
    except FileNotFoundError as error:
        raise InputError(f"{_where(track)}: there is no such file") from error
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{_where(track)}: cannot be read as a plain .npy array: {error}") from error
    return array


def _shape(track: Track, rows: slice) -> tuple[int, int]:
    """Return rows and frames after choosing rows, from the header alone."""
    array = _open(track)
    if not isinstance(array, np.ndarray) or array.ndim != 2 or array.dtype.kind != "f":
        found = f"{array.dtype} {list(array.shape)}" if isinstance(array, np.ndarray) else "no array"
        raise InputError(f"{_where(track)}: must be a floating-point array [rows, frames], not {found}")
    chosen = len(range(*rows.indices(array.shape[0])))
    if chosen == 0 or array.shape[1] == 0 or (rows.stop or 0) > array.shape[0]:
        wanted = f"rows {rows.start or 0} to {rows.stop or 'the last'}"
        raise InputError(
            f"{_where(track)}: has shape {list(array.shape)}, which lacks {wanted} or has no frame"
        )
    return chosen, array.shape[1]
