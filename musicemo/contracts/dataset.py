"""The contract of datasets: targets and tracks."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from musicemo.evaluation import METRICS, TargetKind

__all__ = [
    "FEATURE_ROWS",
    "TARGET_KINDS",
    "Dataset",
    "Label",
    "Orientation",
    "Proposal",
    "Target",
    "TargetKind",
    "Track",
    "check_orientation",
]

#: Kinds of targets, each of which has its metrics.
TARGET_KINDS: tuple[TargetKind, ...] = tuple(METRICS)

#: A rating; a class; or tags, see `Track.targets`.
Label = float | str | Collection[str] | Mapping[str, bool | None]

#: Rows of a feature array with 140 rows: mel spectrogram in dB, chromagram, or both.
FEATURE_ROWS = {"mel": slice(0, 128), "chroma": slice(128, 140), "fused": slice(0, 140)}

#: Heights of arrays that musicemo makes: whoever has so many rows has `[rows, frames]`.
_HEIGHTS = {rows.stop - rows.start for rows in FEATURE_ROWS.values()}


@dataclass(frozen=True, slots=True)
class Orientation:
    """A sentence about feature arrays that seem to be `[frames, rows]`, and whether this is certain."""

    message: str
    certain: bool


def check_orientation(shapes: Sequence[tuple[int, int]]) -> Orientation | None:
    """Return why a dataset's feature arrays seem to be transposed; None if they are `[rows, frames]`.

    The number of rows is the same in every track; the number of frames usually differs.

    Args:
        shapes: The shape of each track's array.
    """
    heights, widths = ({shape[axis] for shape in shapes} for axis in (0, 1))
    if len(shapes) < 2:
        return None
    height, width = max(heights), max(widths)
    fix = "Arrays must be [rows, frames]. Save each with numpy.save(path, array.T)"
    if len(heights) > 1:
        common = set.intersection(*map(set, shapes)) - {1}
        if not common:
            return None
        rows = max(common)
        turned = sum(shape[0] != rows for shape in shapes)
        which = "every array has" if turned == len(shapes) else f"{turned} of {len(shapes)} arrays have"
        return Orientation(f"{which} {rows} columns, so they may be transposed. {fix}", certain=False)
    if len(widths) > 1 or width == 1 or height in _HEIGHTS:
        return None
    every = f"every array has {height} row{'s' * (height > 1)} and {width} columns"
    if height == 1:
        return Orientation(
            f"{every}: one feature over time. If it is one vector per track, save it as [{width}, 1] with "
            "numpy.save(path, array.T)",
            certain=False,
        )
    if height > width or width == max(_HEIGHTS):
        certain = height > width == max(_HEIGHTS)
        return Orientation(f"{every}: they {'are' if certain else 'may be'} transposed. {fix}", certain)
    return None


@dataclass(frozen=True, slots=True)
class Target:
    """A rating or label that the dataset has for its tracks."""

    name: str
    kind: TargetKind
    #: Regression: lowest and highest possible rating, in the dataset's units.
    range: tuple[float, float] = (0.0, 1.0)
    #: Classification: all possible classes. Tags: all possible tags.
    classes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Track:
    """One clip: an id that is unique in its dataset, features, targets and metadata."""

    id: str
    #: `[rows, frames]`, in memory or as the path of a `.npy` file, which is memory-mapped.
    features: NDArray[np.floating] | Path
    #: Target name -> rating (float), class (str), or tags. A target that is absent or None is missing. Tags are the
    #: names of those that apply, in any order: all others do not. If some are unknown: a mapping from tag to whether it
    #: applies; a tag that is absent or None is unknown.
    targets: Mapping[str, Label | None]
    #: Artist or album, which a grouped split keeps in one set.
    group: str | None = None
    #: The set of the track in the official split.
    part: Literal["train", "val", "test"] | None = None
    #: Target name -> ratings of the single listeners, if the dataset has them.
    ratings: Mapping[str, Sequence[float]] = field(default_factory=dict)
    #: Name of its dataset among several joined datasets, set by the core.
    source: str | None = None


@runtime_checkable
class Dataset(Protocol):
    """Declares its targets and yields its tracks.

    `rows` is the slice of rows of every track's features to use (see `FEATURE_ROWS`); other rows are never read. Its
    step must be positive.

    Two optional attributes allow trained runs to predict audio: ``sync``, whether a column of the features is a
    "beat" or a "frame" (None if unknown), and ``recipe``, the `musicemo.features.Recipe` of the features (None for
    the default recipe).
    """

    targets: Sequence[Target]
    rows: slice

    def tracks(self) -> Iterable[Track]:
        """Yield all tracks, always in the same order."""
        ...


@dataclass(frozen=True, slots=True)
class Proposal:
    """An experiment's dataset and tasks for a user's file or folder.

    ``musicemo init PATH`` calls the class method ``propose(path) -> Proposal | None`` of every dataset that has it. A
    dataset that recognizes the path but cannot use it raises an `InputError` with the reason.
    """

    #: The keys of its TOML table.
    parameters: Mapping[str, Any]
    #: The tracks. Their features can be audio files that have not been analyzed yet.
    tracks: Sequence[Track]
    #: Recommended tasks.
    targets: Sequence[Target]
    #: Further possible tasks.
    others: Sequence[Target] = ()
    #: Key -> reason for its value.
    comments: Mapping[str, str] = field(default_factory=dict)
    #: Omitted columns or files, each with the reason.
    notes: Sequence[str] = ()
    #: Files that the dataset needs and that are to be written: path -> text.
    files: Mapping[Path, str] = field(default_factory=dict)
    #: Whether the dataset accepts any suitable data; datasets with a specific layout take precedence.
    general: bool = False
