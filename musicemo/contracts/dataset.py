"""A dataset: its targets and its tracks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

__all__ = ["FEATURE_ROWS", "Dataset", "Orientation", "Proposal", "Target", "Track", "check_orientation"]

#: Rows of a feature array of 140: mel spectrogram in dB, chromagram, or both.
FEATURE_ROWS = {"mel": slice(0, 128), "chroma": slice(128, 140), "fused": slice(0, 140)}

#: Heights of arrays that musicemo makes: whoever has so many rows has `[rows, frames]`.
_HEIGHTS = {rows.stop - rows.start for rows in FEATURE_ROWS.values()}


@dataclass(frozen=True, slots=True)
class Orientation:
    """A sentence on feature arrays that seem to be `[frames, rows]`, and whether that is certain."""

    message: str
    certain: bool


def check_orientation(shapes: Sequence[tuple[int, int]]) -> Orientation | None:
    """Return why a dataset's feature arrays seem to lie on their side; None if they are `[rows, frames]`.

    The number of rows is the same in every track, the number of frames usually differs.

    Args:
        shapes: The shape of each track's array.
    """
    heights, widths = ({shape[axis] for shape in shapes} for axis in (0, 1))
    if len(shapes) < 2:
        return None
    height, width = max(heights), max(widths)
    fix = "arrays are [rows, frames]; save each with numpy.save(path, array.T)"
    if len(heights) > 1:
        common = set.intersection(*map(set, shapes)) - {1}
        if not common:
            return None
        rows = max(common)
        turned = sum(shape[0] != rows for shape in shapes)
        which = "every array has" if turned == len(shapes) else f"{turned} of {len(shapes)} arrays have"
        return Orientation(f"{which} {rows} columns, so they may be transposed; {fix}", certain=False)
    if len(widths) > 1 or width == 1 or height in _HEIGHTS:
        return None
    every = f"every array has {height} row{'s' * (height > 1)} and {width} columns"
    if height == 1:
        return Orientation(
            f"{every}: one feature over time. If it is one vector a track, save it as [{width}, 1] with "
            "numpy.save(path, array.T)",
            certain=False,
        )
    if height > width or width == max(_HEIGHTS):
        certain = height > width == max(_HEIGHTS)
        return Orientation(f"{every}: they {'are' if certain else 'may be'} transposed; {fix}", certain)
    return None


@dataclass(frozen=True, slots=True)
class Target:
    """Something that listeners rated or a catalogue says of every track."""

    name: str
    kind: Literal["regression", "classification"]
    #: Regression: lowest and highest value that a rating can have, in the dataset's own units.
    range: tuple[float, float] = (0.0, 1.0)
    #: Classification: every class that a label can have.
    classes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Track:
    """One clip: an identifier that is unique in its dataset, features, and what is known of it."""

    id: str
    #: `[rows, frames]`, in memory or as the path of a `.npy` file, which is memory-mapped.
    features: NDArray[np.floating] | Path
    #: Target name -> rating (float) or class (str). A target that is absent or None is missing.
    targets: Mapping[str, float | str | None]
    #: Artist or album: what must not stand on two sides of a grouped split.
    group: str | None = None
    #: The part that the dataset's authors put the track in.
    part: Literal["train", "val", "test"] | None = None
    #: Target name -> the single listeners' ratings, where they are known.
    ratings: Mapping[str, Sequence[float]] = field(default_factory=dict)
    #: Which of several joined datasets it is from: filled in by the core.
    source: str | None = None


@runtime_checkable
class Dataset(Protocol):
    """Declares its targets and yields its tracks.

    `rows` is the slice of rows of every track's features that is used (see `FEATURE_ROWS`); the rest is never read. Its
    step must be positive.

    Two optional attributes let what is trained on it be applied to audio: ``sync``, what a column of the features
    is ("beat", "frame", or None for what cannot be told), and ``recipe``, the `musicemo.audio.Recipe` that they
    were made with (None: the default one).
    """

    targets: Sequence[Target]
    rows: slice

    def tracks(self) -> Iterable[Track]:
        """Yield every track, in an order that is the same each time."""
        ...


@dataclass(frozen=True, slots=True)
class Proposal:
    """What a dataset would make of a file or folder that somebody has.

    ``musicemo init PATH`` asks every dataset with a class method ``propose(path) -> Proposal | None``. A dataset that
    knows the path for its own, but cannot use it, raises an `InputError` that says why.
    """

    #: The keys of its TOML table.
    parameters: Mapping[str, Any]
    #: The tracks; their features need not be made yet and may be the audio files.
    tracks: Sequence[Track]
    #: What to learn.
    targets: Sequence[Target]
    #: What it declares and could be learnt too.
    others: Sequence[Target] = ()
    #: Key -> why it is what it is.
    comments: Mapping[str, str] = field(default_factory=dict)
    #: What was left out, and why.
    notes: Sequence[str] = ()
    #: Files that the dataset needs and that are not there: path -> text.
    files: Mapping[Path, str] = field(default_factory=dict)
    #: Whether the dataset takes anything that looks right: one whose own layout it is goes before.
    general: bool = False
