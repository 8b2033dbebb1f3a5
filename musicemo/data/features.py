"""Feature arrays of tracks: checked, scaled, in memory if they fit, otherwise memory-mapped."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from musicemo.contracts import FEATURE_ROWS, ArrayFile, FeatureArray, Track, find_layout
from musicemo.data.scaling import Scaling
from musicemo.errors import InputError
from musicemo.features import StoredArray
from musicemo.workers import free_memory

__all__ = ["Features", "normalize_rows", "rows_numbers", "rows_text"]

Array = NDArray[np.float32]

#: Rows of the features of the original study: whoever has so many time steps in every track has them as rows.
_ROWS = FEATURE_ROWS["fused"].stop


class Features:
    """The features of a sequence of tracks, each `[time, feature]` in float32.

    Args:
        tracks: the tracks.
        rows: the feature rows to read.
        cache: ``memory`` keeps the scaled features of every track after the first access; ``disk`` reads them each time
            through a memory map; ``auto`` is ``memory`` if that takes at most half of the free memory.

    Raises:
        InputError: an array cannot be read, or its shape is not `[time, feature]`.
    """

    def __init__(self, tracks: Sequence[Track], rows: slice, cache: str = "auto") -> None:
        self._tracks = tracks
        self._rows = rows = normalize_rows(rows, tracks)
        self._scaling: Scaling | None = None
        shapes = [_shape(track, rows) for track in tracks]
        self.size = len(range(rows.start, rows.stop, rows.step or 1)) if shapes else 0
        if shapes:
            _check_sizes(tracks, shapes)
        #: Time steps of every track.
        self.lengths = np.array([steps for steps, _ in shapes], dtype=np.int64)
        in_memory = cache == "memory" or (cache == "auto" and self.memory <= free_memory() // 2)
        self._kept: list[Array | None] | None = [None] * len(tracks) if in_memory else None

    def __len__(self) -> int:
        return len(self._tracks)

    @property
    def memory(self) -> int:
        """Bytes of the features of all tracks."""
        return int(self.lengths.sum()) * self.size * 4

    def scale(self, scaling: Scaling) -> None:
        """Set the scaling of all features that are read from now on. Call it only once."""
        self._scaling = scaling
        if self._kept is not None:
            for index, kept in enumerate(self._kept):  # one by one, so that both are never in memory together
                self._kept[index] = None if kept is None else scaling(kept)

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
        with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is refused below
            with _told_by_track(track):
                stored = _open(track).read()
            features = np.ascontiguousarray(stored[:, self._rows], dtype=np.float32)
        if not isinstance(track.features, np.ndarray) and not features.flags.owndata:
            features = features.copy()  # a map that is kept would keep its file open
        if not np.isfinite(features).all():
            step, column = (int(place) for place in np.argwhere(~np.isfinite(features))[0])
            row = range(*self._rows.indices(stored.shape[1]))[column]
            raise InputError(f"{_where(track)}: is {stored[step, row]} at row {row}, frame {step}")
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
        size = _layout(tracks[0])[1]
        if start < -size:
            raise InputError(f"{_where(tracks[0])}: has {size} rows, but the dataset's rows are {rows!r}")
        start, stop, step = slice(start, stop, step).indices(size)
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


def _where(track: Track) -> str:
    path = track.features.path if isinstance(track.features, ArrayFile) else track.features
    return f"track {track.id!r}" + (f" ({path})" if isinstance(path, Path) else "")


@dataclass(frozen=True)
class _InMemory:
    """A dataset's array in memory; see `FeatureArray`."""

    array: NDArray[np.floating]

    @property
    def shape(self) -> tuple[int, int]:
        if self.array.ndim != 2 or self.array.dtype.kind != "f":
            raise InputError(
                f"must be a floating-point array [time, feature], not {self.array.dtype} {list(self.array.shape)}"
            )
        return self.array.shape

    def read(self) -> NDArray[np.floating]:
        return self.array


def _open(track: Track) -> FeatureArray:
    features = track.features
    if isinstance(features, np.ndarray):
        return _InMemory(features)
    if isinstance(features, Path):
        return StoredArray(ArrayFile(features))
    if isinstance(features, ArrayFile):
        return StoredArray(features)
    if isinstance(features, FeatureArray):
        return features
    raise InputError(f"must be a floating-point array [time, feature], not {type(features).__name__}")


@contextmanager
def _told_by_track(track: Track) -> Iterator[None]:
    """Begin the problems of an array with its track and its file."""
    where = _where(track)
    path = where.partition("(")[2].removesuffix(")")
    try:
        yield
    except InputError as error:
        problems = (text.removeprefix(f"{path}: ") if path else text for text in error.problems)
        raise InputError(
            *(text if text.startswith("track ") else f"{where}: {text}" for text in problems)
        ) from error


def _layout(track: Track) -> tuple[int, int]:
    """Return the number of time steps and of rows of a track's features. Of a file, only the header is read."""
    with _told_by_track(track):
        return _open(track).shape


def _shape(track: Track, rows: slice) -> tuple[int, int]:
    """Return the shape of a track's features if they have the rows and a time step."""
    steps, size = _layout(track)
    if steps == 0 or rows.stop > size:
        raise InputError(
            f"{_where(track)}: has shape {[steps, size]}, but needs rows {rows_text(rows)} and at least one time step"
        )
    return steps, size


def _axes(track: Track) -> str:
    """Return the axes that a track's array must have, for messages."""
    if not isinstance(track.features, ArrayFile) or track.features.layout != "rows-time":
        return "[time, feature]"
    return '[feature, time], as layout = "rows-time" declares'


def _check_sizes(tracks: Sequence[Track], shapes: Sequence[tuple[int, int]]) -> None:
    """Raise an `InputError` if features differ in their number of rows."""
    turned = find_layout(shapes) == "rows-time"
    for track, (_, size) in zip(tracks, shapes, strict=True):
        if size != shapes[0][1]:
            raise InputError(
                f"{_where(track)}: has {size} rows, but track {tracks[0].id!r} has {shapes[0][1]}"
                + (
                    f"; every array has {shapes[0][0]} time steps, so they may be transposed. They must be "
                    f"{_axes(track)}"
                    if turned
                    else ""
                )
            )
    if len(tracks) > 1 and {steps for steps, _ in shapes} == {_ROWS} != {shapes[0][1]}:
        raise InputError(
            f"{_where(tracks[0])} has shape {list(shapes[0])}: every array has {_ROWS} time steps and {shapes[0][1]} "
            "rows: they are transposed, and must be [time, feature]"
        )
