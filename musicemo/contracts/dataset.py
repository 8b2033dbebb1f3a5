"""The contract of datasets: targets and tracks."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, get_args, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from musicemo.evaluation import TargetKind

__all__ = [
    "FEATURE_ROWS",
    "TARGET_KINDS",
    "ArrayFile",
    "Dataset",
    "FeatureArray",
    "Judgement",
    "Label",
    "Layout",
    "Per",
    "Proposal",
    "Series",
    "Signal",
    "Target",
    "TargetKind",
    "Track",
    "find_layout",
    "kinds_of",
]

#: Kinds of targets, each of which has its metrics.
TARGET_KINDS: tuple[TargetKind, ...] = get_args(TargetKind)


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """Ratings over time, at regular times.

    Attributes:
        values: `[ratings]`, in the dataset's units; NaN where the track is not rated.
        start: Time of the first rating in seconds, from the start of the audio or of the ready-made array.
        rate: Ratings per second.
    """

    values: NDArray[np.floating]
    start: float
    rate: float

    @property
    def times(self) -> NDArray[np.float64]:
        """`[ratings]`: the time of each rating in seconds."""
        return self.start + np.arange(len(self.values)) / self.rate

    def __eq__(self, other: object) -> bool:
        """Return whether both have the same times and values; NaN equals NaN."""
        if not isinstance(other, Series):
            return NotImplemented
        return (self.start, self.rate) == (other.start, other.rate) and np.array_equal(
            self.values, other.values, equal_nan=True
        )


@dataclass(frozen=True, slots=True)
class Judgement:
    """Listeners' comparison of a track with another one.

    Attributes:
        other: Id of the other track.
        higher: Number of listeners for whom this track is higher. A listener who hears no difference counts half here
            and half in `lower`. Another measure of confidence can take the place of the number.
        lower: Number of listeners for whom the other track is higher.
    """

    other: str
    higher: float = 1.0
    lower: float = 0.0


#: A rating; a class; tags; ratings over time; or judgements; see `Track.targets`.
Label = float | str | Collection[str] | Mapping[str, bool | None] | Series | Sequence[Judgement]


def kinds_of(loss: Any) -> tuple[str, ...]:
    """Return the kinds of targets that a loss declares with its attribute ``kind``; empty without it."""
    declared = getattr(loss, "kind", None)
    return tuple(declared) if isinstance(declared, tuple | list) else () if declared is None else (declared,)


#: Rows of features with 140 rows: mel spectrogram in dB, chromagram, or both.
FEATURE_ROWS = {"mel": slice(0, 128), "chroma": slice(128, 140), "fused": slice(0, 140)}

Layout = Literal["time-rows", "rows-time", "vector", "layers"]

#: The ratings over time that a loss compares with each other: those of a song, of a time step, or all of a batch.
Per = Literal["song", "step", "all"]


@dataclass(frozen=True, slots=True)
class ArrayFile:
    """A ready-made feature array in a `.npy` or `.npz` file, which is memory-mapped or read when it is needed.

    Attributes:
        path: The file; its values are floating-point.
        layout: "time-rows" is `[time, rows]`, "rows-time" is `[rows, time]`, "vector" is `[rows]`, one step for the
            whole track, "layers" is `[layers, rows]`, also one step, in which the layers are side by side.
        key: Name of the array in a `.npz` file.
        rate: Time steps per second, which targets over time need; None if it is unknown.
        layers: With "layers": the layers to read, counted from 0; None for all.
    """

    path: Path
    layout: Layout = "time-rows"
    key: str | None = None
    rate: float | None = None
    layers: tuple[int, ...] | None = None


@runtime_checkable
class FeatureArray(Protocol):
    """Features that are read when they are needed.

    Targets over time need the optional attribute ``edges``, `[time + 1]`: the edges of the time steps in seconds.
    """

    @property
    def shape(self) -> tuple[int, int]:
        """Number of time steps and of rows."""
        ...

    def read(self) -> NDArray[np.floating]:
        """Return the values, `[time, rows]`.

        Raises:
            InputError: They cannot be read; the message names the file.
        """
        ...


@runtime_checkable
class Signal(Protocol):
    """Audio that is computed instead of read from a file. It is pickled, and computed in worker processes."""

    @property
    def identity(self) -> str:
        """Text that is the same for equal samples, and different for others."""
        ...

    def samples(self) -> tuple[NDArray[np.float32], int]:
        """Return `[samples]`, mono, from -1 to 1, and their rate in Hz."""
        ...


def find_layout(shapes: Sequence[tuple[int, int]]) -> Layout | None:
    """Return the layout of a dataset's two-dimensional arrays, whose number of rows is the same in every track.

    None if that does not determine it: there is one track, or all arrays have one shape, or no axis is the same in all.

    Args:
        shapes: The shape of each track's array.
    """
    first, second = ({shape[axis] for shape in shapes} for axis in (0, 1))
    if len(first) == 1 and len(second) > 1:
        return "rows-time"
    if len(second) == 1 and len(first) > 1:
        return "time-rows"
    return None


@dataclass(frozen=True, slots=True)
class Target:
    """A rating or label that the dataset has for its tracks."""

    name: str
    kind: TargetKind
    #: Regression and series: lowest and highest possible rating, in the dataset's units.
    range: tuple[float, float] = (0.0, 1.0)
    #: Classification: all possible classes. Tags: all possible tags.
    classes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Track:
    """One clip: an id that is unique in its dataset, features, targets and metadata."""

    id: str
    #: Ready-made features `[time, feature]`: in memory, in a file, or read when needed. A path is `ArrayFile(path)`.
    #: None for audio.
    features: NDArray[np.floating] | Path | ArrayFile | FeatureArray | None = None
    #: Target name -> rating (float), class (str), tags, ratings over time (`Series`), or judgements. A target that is
    #: absent or None is missing. Tags are the names of those that apply, in any order: all others do not. If some are
    #: unknown: a mapping from tag to whether it applies; a tag that is absent or None is unknown. Pairs are a sequence
    #: of `Judgement`; a pair is in the sequence of one of its tracks. The listeners of one pair are added up.
    targets: Mapping[str, Label | None] = field(default_factory=dict)
    #: Artist or album, which a grouped split keeps in one set.
    group: str | None = None
    #: The set of the track in the official split.
    part: Literal["train", "val", "test"] | None = None
    #: Target name -> ratings of the single listeners, if the dataset has them: of a series, a `Series` of each.
    ratings: Mapping[str, Sequence[float] | Sequence[Series]] = field(default_factory=dict)
    #: Name of its dataset among several joined datasets, set by the core.
    source: str | None = None
    #: The track as its dataset yields it, among several joined datasets; set by the core.
    original: Track | None = None
    #: The audio, from which the core extracts the features of the experiment.
    audio: Path | Signal | None = None


@runtime_checkable
class Dataset(Protocol):
    """Declares its targets and yields its tracks, each with audio or with ready-made features.

    Optional attributes:

    - ``rows``: the slice of the ready-made features' rows to use; all if it is absent. Its step must be positive.
    - ``extraction``: the table ``[features]`` that computes the ready-made features, all rows, from audio, such as
      ``{"type": "mel-chroma", "grid": "beat"}``. Trained runs can then predict audio.
    - ``rate``: time steps per second of its ready-made arrays in memory, which targets over time need.
    - ``drawn_from``: the corpora that its songs come from, such as ``("magnatune",)``.
    - ``id_space``: the name of the catalogue that its ids are from, such as ``"deam"``. Two tracks of datasets with the
      same space and the same id are the same music.
    """

    targets: Sequence[Target]

    def tracks(self) -> Iterable[Track]:
        """Yield all tracks, always in the same order."""
        ...


@dataclass(frozen=True, slots=True)
class Proposal:
    """An experiment's dataset and tasks for a user's file or folder.

    ``musicemo init PATH`` calls the class method ``propose(path) -> Proposal | None`` of every dataset that has it. A
    dataset that recognizes the path but cannot use it raises an `InputError` with the reason. ``propose`` can have two
    more parameters: ``files``, the folder given with ``--files``, or None; and ``tasks``, the targets given with
    ``--task``.
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
    #: Decisions and facts that the user should check.
    remarks: Sequence[str] = ()
    #: The table ``[features]``, if the tracks' arrays need one.
    features: Mapping[str, Any] = field(default_factory=dict)
    #: Files that the dataset needs and that are to be written: path -> text.
    files: Mapping[Path, str] = field(default_factory=dict)
    #: Whether the dataset accepts any suitable data; datasets with a specific layout take precedence.
    general: bool = False
