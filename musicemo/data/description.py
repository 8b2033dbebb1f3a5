"""Description of the inputs and outputs of a trained network, as stored in a checkpoint."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from musicemo.data.features import Features, rows_numbers
from musicemo.data.splits import Split
from musicemo.data.tasks import Task
from musicemo.data.tracks import Tracks
from musicemo.errors import InputError
from musicemo.features import Stream
from musicemo.ops import Distribution, distribution_of

__all__ = ["Description", "declared_rows", "describe", "stream_columns", "stream_rows", "stream_sizes"]

_T = TypeVar("_T")


@dataclass(frozen=True)
class Description:
    """Everything that a prediction needs in addition to the experiment. The dataset is not needed."""

    tasks: Sequence[Task]
    #: Number of features of a time step, all outputs of all streams.
    input_size: int
    #: Rows of a feature array that are used, see `normalize_rows`.
    rows: slice
    #: Stream -> its number of features, and how many outputs of this size a network sums ("weighted-sum").
    streams: Mapping[str, tuple[int, int]]
    #: Tables ``[features]`` that compute the features from audio; empty if they are unknown.
    extraction: Sequence[Mapping[str, Any]]
    #: Number of columns of the training tracks: minimum, median, maximum.
    lengths: tuple[int, int, int]
    #: Length and number of the excerpts of a track that the network is evaluated on; None for the whole track.
    excerpts: tuple[int, int] | None = None

    def to_state(self) -> dict[str, Any]:
        """Return the description as text, numbers, lists and dictionaries."""
        return {
            "tasks": [
                {
                    "name": task.name,
                    "target": task.target,
                    "kind": task.kind,
                    "range": list(task.range),
                    "classes": list(task.classes),
                    "merged": dict(task.merged),
                    "smoothing": task.smoothing,
                    "distribution": json.dumps(task.distribution and task.distribution.to_json()),
                }
                for task in self.tasks
            ],
            "input_size": self.input_size,
            "rows": rows_numbers(self.rows),
            "streams": {name: list(sizes) for name, sizes in self.streams.items()},
            "extraction": [json.dumps(table) for table in self.extraction],
            "lengths": list(self.lengths),
            **({"excerpts": list(self.excerpts)} if self.excerpts else {}),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Description:
        """Return the description from the form of `to_state`.

        Raises:
            InputError: the state does not have this form.
        """
        try:
            tasks = [
                Task(
                    **{
                        **task,
                        "range": tuple(float(end) for end in task["range"]),
                        "classes": tuple(task["classes"]),
                        "distribution": _distribution(task.get("distribution")),
                    }
                )
                for task in state["tasks"]
            ]
            fewest, median, most = (int(length) for length in state["lengths"])
            length, count = state.get("excerpts") or (None, 1)
            return cls(
                tasks=tasks,
                input_size=int(state["input_size"]),
                rows=slice(*(int(end) for end in state["rows"])),
                streams={name: (int(size), int(layers)) for name, (size, layers) in state["streams"].items()},
                extraction=[dict(json.loads(table)) for table in state["extraction"]],
                lengths=(fewest, median, most),
                excerpts=None if length is None else (int(length), int(count)),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"its description is damaged: {type(error).__name__}: {error}") from error


def _distribution(text: str | None) -> Distribution | None:
    table = json.loads(text) if text else None
    return table and distribution_of(table)


def stream_columns(streams: Mapping[str, tuple[int, int]]) -> dict[str, slice]:
    """Return the columns of each stream in the input of a backbone, where learned sums have been taken."""
    ends = list(itertools.accumulate((size for size, _ in streams.values()), initial=0))
    return {name: slice(*pair) for name, pair in zip(streams, itertools.pairwise(ends), strict=True)}


def stream_sizes(tracks: Tracks, features: Features) -> dict[str, tuple[int, int]]:
    """Return stream -> its number of features, and how many outputs of this size a network sums.

    Ready-made features are one stream, "features".
    """
    streams = {stream.name: (stream.size // stream.layers, stream.layers) for stream in tracks.streams}
    return streams or {"features": (features.size, 1)}


def stream_rows(tracks: Tracks, features: Features) -> dict[str, slice]:
    """Return the feature rows of each stream, with all outputs that a network sums."""
    sizes = stream_sizes(tracks, features)
    return stream_columns({name: (size * layers, 1) for name, (size, layers) in sizes.items()})


def declared_rows(
    tracks: Tracks, features: Features, declared: Callable[[Stream], Iterable[tuple[slice, _T]]]
) -> list[tuple[slice, _T]]:
    """Return what the streams declare of their rows, with the places of the rows among those of all streams.

    Args:
        tracks: the tracks.
        features: their features.
        declared: returns what a stream declares. Ready-made features declare nothing.
    """
    first = {name: rows.start for name, rows in stream_rows(tracks, features).items()}
    return [
        (slice(first[stream.name] + rows.start, first[stream.name] + rows.stop), one)
        for stream in tracks.streams
        for rows, one in declared(stream)
    ]


def describe(
    tracks: Tracks, split: Split, features: Features, excerpts: tuple[int, int] | None = None
) -> Description:
    """Return the description for the training set of some tracks."""
    lengths = features.lengths[split.parts["train"]]
    return Description(
        tasks=tracks.tasks,
        input_size=features.size,
        rows=tracks.rows,
        streams=stream_sizes(tracks, features),
        extraction=tracks.extraction,
        lengths=(int(lengths.min()), round(float(np.median(lengths))), int(lengths.max())),
        excerpts=excerpts,
    )
