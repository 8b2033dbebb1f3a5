"""A dataset: its targets and its tracks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

__all__ = ["FEATURE_ROWS", "Dataset", "Proposal", "Target", "Track"]

#: Rows of a feature array of 140: mel spectrogram in dB, chromagram, or both.
FEATURE_ROWS = {"mel": slice(0, 128), "chroma": slice(128, 140), "fused": slice(0, 140)}


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

    `rows` chooses rows of every track's features (see `FEATURE_ROWS`); the rest is never read.

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
