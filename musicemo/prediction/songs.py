"""Predictions for songs, as a whole and over time."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from os import PathLike, fspath
from pathlib import Path
from typing import Literal, overload

import numpy as np
import torch
from numpy.typing import NDArray

from musicemo import features
from musicemo.contracts import FEATURE_ROWS, ArrayFile, Layout, TargetKind, Track
from musicemo.data import Features, Task, rows_text
from musicemo.errors import InputError
from musicemo.experiment.features import DEFAULT_FEATURES, stream_of, streams_of
from musicemo.features import Clip, Failure, StoredArray, Stream, array_header, side_by_side, with_features
from musicemo.prediction.trained import TrainedRun, find_runs
from musicemo.prediction.windows import cut_by_columns, cut_by_seconds
from musicemo.training import choose_device

__all__ = ["Predictor", "SongFeatures", "SongPrediction", "TaskPrediction", "failure_of"]

Sync = Literal["beat", "frame"]
Array = NDArray[np.float32]

_SILENCE = 1e-4
"""A window is silent if its samples are below this share of the song's largest: 80 dB."""


@dataclass(frozen=True)
class TaskPrediction:
    """Prediction of one task for one song.

    That of a series is one curve over the whole song: its windows are the steps of the features.
    """

    kind: TargetKind
    range: tuple[float, float]
    classes: Sequence[str]
    #: Ratings in the dataset's units `[runs, windows]`, or probabilities `[runs, windows, classes]` of classes or tags.
    values: NDArray[np.float64]
    #: Tags: `[classes]`, probability from which on a tag is predicted: the mean over the runs.
    thresholds: NDArray[np.float64] | None = None
    #: Series: `[windows, 2]`, start and end of each step in seconds; None for the windows of the song.
    steps: NDArray[np.float64] | None = None
    #: Ratings of a run that learns distributions: `[runs, windows]`, predicted standard deviation of the listeners'
    #: ratings in the dataset's units.
    spread: NDArray[np.float64] | None = None

    @property
    def listeners_curve(self) -> NDArray[np.float64] | None:
        """`[windows]`: the predicted deviation in each window, the root of the mean variance over the runs."""
        return None if self.spread is None else np.asarray(np.sqrt((self.spread**2).mean(axis=0)))

    @property
    def listeners_deviation(self) -> float | None:
        """The predicted standard deviation of the listeners' ratings: the root of the mean variance."""
        return None if self.spread is None else float(np.sqrt((self.spread**2).mean()))

    @property
    def value(self) -> NDArray[np.float64]:
        """The mean over windows and runs: a scalar, or `[classes]`."""
        mean: NDArray[np.float64] = self.of_windows(self.values).mean(axis=0)
        return mean

    def of_windows(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the mean over the windows, the second axis, in which the steps of a series weigh by their length."""
        return np.asarray(
            np.average(values, axis=1, weights=None if self.steps is None else np.diff(self.steps)[:, 0])
        )

    @property
    def ranked(self) -> list[int]:
        """The classes or tags, the most probable first."""
        return [int(place) for place in np.argsort(-self.value, kind="stable")]

    @property
    def beyond(self) -> bool:
        """Whether the value is a rating outside the range of the ratings."""
        low, high = self.range
        return self.kind in ("regression", "series") and not low <= float(self.value) <= high

    @property
    def deviation(self) -> NDArray[np.float64] | None:
        """The standard deviation of the value over the runs, with the shape of the value; None for one run."""
        if len(self.values) < 2:
            return None
        deviation: NDArray[np.float64] = self.of_windows(self.values).std(axis=0, ddof=1)
        return deviation

    @property
    def curve(self) -> NDArray[np.float64]:
        """The mean over the runs: `[windows]`, or `[windows, classes]`."""
        mean: NDArray[np.float64] = self.values.mean(axis=0)
        return mean

    @property
    def curve_deviation(self) -> NDArray[np.float64] | None:
        """The standard deviation over the runs, with the shape of the curve; None for one run."""
        return self.values.std(axis=0, ddof=1) if len(self.values) > 1 else None


@dataclass(frozen=True)
class SongPrediction:
    """Predictions of all tasks for one song."""

    song: str
    #: Duration in seconds.
    duration: float
    #: `[windows, 2]`: start and end of each window, in seconds.
    windows: NDArray[np.float64]
    tasks: Mapping[str, TaskPrediction]
    #: Whether times are in seconds; False for ready-made arrays without a rate, whose times count time steps.
    timed: bool = True

    def windows_of(self, task: str) -> NDArray[np.float64]:
        """Return `[windows, 2]`: start and end of what each value of a task is for, in seconds."""
        steps = self.tasks[task].steps
        return self.windows if steps is None else steps


def failure_of(song: str | PathLike[str], error: BaseException) -> Failure:
    """Return the reason why a song has no prediction.

    Args:
        song: the song's path.
        error: the error that its analysis or prediction raised.
    """
    if isinstance(error, torch.OutOfMemoryError):
        error = MemoryError()
    return features.failure_of(song, error, "predicted")


@dataclass(frozen=True, eq=False)
class SongFeatures:
    """Features of a whole song, from which those of windows are taken."""

    #: The features of each stream, not finished; see `musicemo.features.Stream.pooled`.
    clips: Sequence[Clip]
    #: `[columns + 1]`: edges of the time steps, in seconds.
    edges: NDArray[np.float64]
    #: `[columns]`: the largest absolute sample of each time step.
    peaks: NDArray[np.float32]
    #: Whether the edges are in seconds; False for ready-made arrays without a rate: they count time steps.
    timed: bool = True


class Predictor:
    """Predicts songs with one run, or with several replicates of it.

    A song with no more time steps than the longest training track is one clip, as in training. A longer song is cut
    into windows of the median training track's length, overlapping by half; its value is the mean over the windows. The
    features of a window are those of a clip: decibels, for example, are relative to its own loudest moment. Silent
    windows are left out. Series are predicted from the whole song at once, whatever its length.

    Args:
        runs: the runs that `find_runs` returns.
        sync: whether a time step of the features is a beat or a frame, for a run whose dataset does not record it.
        window: length of a window in seconds, instead of the length in training.
        hop: seconds from one window to the next; by default half a window.
        arrays: whether the songs are files of ready-made arrays, as in the training of the run, instead of audio.

    Raises:
        InputError: `sync` is missing or contradicts the run, the windows are invalid, or the run was trained on
            features that cannot be computed from audio.
    """

    def __init__(
        self,
        runs: Sequence[TrainedRun] | str | PathLike[str],
        *,
        sync: Sync | None = None,
        window: float | None = None,
        hop: float | None = None,
        device: str = "auto",
        trust_local_code: bool = False,
        arrays: bool = False,
    ) -> None:
        if isinstance(runs, str | PathLike):
            runs = find_runs(Path(runs), choose_device(device), trust_local_code=trust_local_code)
        _check_windows(window, hop)
        self.runs = runs
        described = runs[0].description
        self._lengths = described.lengths
        self._window, self._hop = window, hop
        self.streams: Sequence[Stream | _ReadyMade]
        if arrays:
            if sync is not None:
                raise InputError("--sync: ready-made arrays have their time steps; it is for audio")
            self.streams, self._rows = [_ReadyMade(runs[0])], described.rows
            return
        self.streams = find_streams(runs[0], sync)
        size, self._rows = sum(stream.size for stream in self.streams), described.rows
        if self._rows.stop > size:
            raise InputError(
                f"{runs[0].directory}: was trained on rows {rows_text(described.rows)} of its dataset's arrays; the "
                f"features {', '.join(stream.name for stream in self.streams)} have {size}"
            )

    def with_runs(self, places: Sequence[int]) -> Predictor:
        """Return a predictor with some of the runs, which shares the feature extractors.

        Args:
            places: Their places in `runs`.
        """
        other = copy.copy(self)
        other.runs = [self.runs[place] for place in places]
        return other

    def with_windows(self, window: float, hop: float | None = None) -> Predictor:
        """Return a predictor with other windows, which shares the feature extractors; see `Predictor`.

        Raises:
            InputError: the windows are invalid.
        """
        _check_windows(window, hop)
        other = copy.copy(self)
        other._window, other._hop = window, hop
        return other

    def extract(self, song: str | PathLike[str]) -> SongFeatures:
        """Extract the features of a whole song, as in the training of the runs.

        Raises:
            InputError: the song cannot be analyzed; the message begins with the path.
        """
        if isinstance(first_stream := self.streams[0], _ReadyMade):
            features = first_stream.read(Path(song))
            if self._window is not None and not features.timed:
                raise InputError(
                    f"{fspath(song)}: --window is in seconds, but the run's features.rate, steps per second, is not set"
                )
            return features
        clips = [stream.pooled(Path(song)) for stream in self.streams if isinstance(stream, Stream)]
        timed = [
            clip for clip, stream in zip(clips, self.streams, strict=True) if stream.grid != "track"
        ] or clips
        first = min(timed, key=lambda clip: len(clip.edges))
        steps = {len(clip.edges) for clip in timed}
        if len(steps) > 1 and all(stream.grid != "frame" for stream in self.streams):
            raise InputError(f"{fspath(song)}: the streams of features have different numbers of time steps")
        return SongFeatures(clips, first.edges, first.peaks)

    def predict(self, song: str | PathLike[str], features: SongFeatures | None = None) -> SongPrediction:
        """Predict a song.

        Args:
            song: the song's path.
            features: its features, if they have been extracted already.

        Raises:
            InputError: the song cannot be analyzed, or the model fails on it.
        """
        features = features or self.extract(song)
        described = self.runs[0].description.tasks
        timed = [task.kind == "series" for task in described]
        if any(timed) and not features.timed:
            raise InputError(
                f"{fspath(song)}: ratings over time need the times of the steps: set features.rate, steps per second, "
                "in the experiment"
            )
        duration = float(features.edges[-1])
        windows = np.array([[0.0, duration]])
        found: list[dict[str, NDArray[np.float64]]] = [{} for _ in self.runs]
        spreads: list[dict[str, NDArray[np.float64]]] = []
        if not all(timed):
            clips, windows, duration = self.clips(features)
        try:
            for run, predicted in zip(self.runs, found, strict=True):
                if not all(timed):
                    outputs = run.outputs(clips)
                    predicted |= run.calibrated(run.in_units(outputs))
                    spreads.append(run.spreads(outputs))
                if any(timed):
                    predicted |= run.curves(self._whole(features), features.edges)
        except torch.OutOfMemoryError:
            raise
        except (RuntimeError, ValueError, IndexError) as error:  # too short for a network, for example
            raise InputError(f"{fspath(song)}: the model cannot take it: {error}") from error
        tasks = {
            task.name: TaskPrediction(
                task.kind,
                task.range,
                task.classes,
                np.stack([one[task.name] for one in found]),
                self._thresholds(task) if task.kind == "tags" else None,
                np.stack([features.edges[:-1], features.edges[1:]], axis=1) if task.kind == "series" else None,
                np.stack([one[task.name] for one in spreads]) if task.distribution else None,
            )
            for task in described
        }
        for name, task in tasks.items():
            if not np.isfinite(task.values).all():
                raise InputError(f"{fspath(song)}: the prediction of {name!r} is not finite")
        return SongPrediction(fspath(song), duration, windows, tasks, features.timed)

    def _whole(self, features: SongFeatures) -> Array:
        steps = np.array([[0, len(features.edges) - 1]])
        return _Clips(self.streams, features.clips, steps, self._rows)[0]

    def _thresholds(self, task: Task) -> NDArray[np.float64]:
        of_runs = [[run.thresholds[task.name][tag] for tag in task.classes] for run in self.runs]
        return np.asarray(np.mean(of_runs, axis=0))

    def clips(self, features: SongFeatures) -> tuple[Sequence[Array], NDArray[np.float64], float]:
        """Return the windows' features, each `[time, feature]`, the windows `[windows, 2]` and the duration in seconds.

        The features of a window are computed on access, so that many windows take no more memory than the song.
        """
        edges = features.edges
        columns = len(edges) - 1
        if self._window is not None:
            windows = cut_by_seconds(edges, self._window, self._hop or self._window / 2)
        else:
            _, median, most = self._lengths
            windows = cut_by_columns(columns, columns if columns <= most else median)
        peaks = features.peaks
        least = _SILENCE * float(peaks.max())
        loud = [window for window in windows if peaks[slice(*window)].max() > least]
        if not loud:  # possible with gaps between the windows
            raise InputError(f"the song is silent in every window of {self._window:g} s")
        kept = np.array(loud)
        return _Clips(self.streams, features.clips, kept, self._rows), edges[kept], float(edges[-1])


def _check_windows(window: float | None, hop: float | None) -> None:
    """Refuse windows without a length.

    Raises:
        InputError: a number of seconds is not positive, or the hop has no window.
    """
    for name, seconds in (("window", window), ("hop", hop)):
        if seconds is not None and not 0 < seconds < math.inf:
            raise InputError(f"--{name} {seconds:g}: must be above 0 seconds")
    if hop is not None and window is None:
        raise InputError(f"--hop {hop:g}: requires --window")


class _ReadyMade:
    """Ready-made arrays of songs in the form of those that a run was trained on, in place of a stream.

    Raises:
        InputError: The run was trained on features of audio.
    """

    grid = "frame"
    name = "arrays"

    def __init__(self, run: TrainedRun) -> None:
        if run.description.extraction:
            names = ", ".join(str(table["type"]) for table in run.description.extraction)
            raise InputError(
                f"{run.directory}: was trained on {names} of audio. Give it audio files, not arrays"
            )
        self._rows = run.description.rows
        self._streams = (
            streams_of(run.experiment.features, run.experiment.source) if run.experiment.features else []
        )
        self.size = self._rows.stop

    def read(self, song: Path) -> SongFeatures:
        """Return a song's array.

        Raises:
            InputError: It cannot be read, or has other rows than those in training.
        """
        track = Track(str(song), song)
        if self._streams:
            (track,) = with_features([track], self._streams, "")
        else:
            track = replace(track, features=ArrayFile(song, self._layout(song)))
        stored = StoredArray(track.features) if isinstance(track.features, ArrayFile) else track.features
        values = Features([track], slice(None))[0]
        fused = FEATURE_ROWS["fused"].stop
        size = fused if self._rows in FEATURE_ROWS.values() else self._rows.stop
        if values.shape[1] != size:
            raise InputError(f"{song}: has {values.shape[1]} rows, but the run was trained on {size}")
        edges = getattr(stored, "edges", None)
        steps = np.arange(len(values) + 1.0)
        clip = Clip({"array": values}, steps if edges is None else edges, np.ones(len(values), np.float32))
        return SongFeatures([clip], clip.edges, clip.peaks, edges is not None)

    def _layout(self, song: Path) -> Layout:
        """Return the layout of an array by its number of rows, as a dataset's arrays are read.

        Raises:
            InputError: The array cannot be read, or both axes or none have the rows.
        """
        if song.suffix.lower() == ".npz":
            raise InputError(
                f"{song}: the run was trained on .npy files; give it one array per song in such a file"
            )
        try:
            shape = array_header(song)[0].shape
        except (OSError, ValueError) as error:
            raise InputError(f"{song}: cannot be read as a .npy file ({error})") from error
        size = FEATURE_ROWS["fused"].stop if self._rows in FEATURE_ROWS.values() else self._rows.stop
        fitting = [axis for axis, rows in enumerate(shape) if rows == size]
        if len(shape) == 1:
            return "vector"
        if len(shape) != 2 or len(fitting) != 1:
            raise InputError(f"{song}: has shape {list(shape)}, but one of two axes must have {size} rows")
        return "time-rows" if fitting[0] else "rows-time"

    def finish(self, values: Mapping[str, Array]) -> Mapping[str, Array]:
        """Return the values, which are ready."""
        return values


def find_streams(run: TrainedRun, sync: Sync | None) -> list[Stream]:
    """Return the streams of features that compute the input of a run from audio.

    Raises:
        InputError: they are unknown, or `sync` is missing or contradicts them.
    """
    directory, described = run.directory, run.description
    tables = run.experiment.features
    if tables and described.extraction:
        streams = streams_of(tables, run.experiment.source)
    elif described.extraction:
        streams = [stream_of(table) for table in described.extraction]
    else:
        if described.rows not in FEATURE_ROWS.values():
            raise InputError(
                f"{directory}: was trained on rows {rows_text(described.rows)} of its dataset's arrays, which no "
                "installed extractor computes from audio. `musicemo evaluate` predicts tracks with such arrays"
            )
        if sync is None:
            raise InputError(
                f"{directory}: the time grid of the run's features is not recorded. "
                "Specify it with --sync beat or --sync frame"
            )
        streams = [stream_of({"type": DEFAULT_FEATURES, "outputs": ["mel", "chroma"], "grid": sync})]
    if sync is not None and sync != streams[0].grid:
        raise InputError(
            f"--sync {sync}: {directory} was trained on features with the grid {streams[0].grid!r}"
        )
    return [stream.whole for stream in streams]


@dataclass(frozen=True)
class _Clips(Sequence[Array]):
    """The features of a song's windows, each finished like a clip of its own."""

    streams: Sequence[Stream | _ReadyMade]
    clips: Sequence[Clip]
    #: `[windows, 2]`: first and past-the-last time step.
    windows: NDArray[np.int64]
    rows: slice

    def __len__(self) -> int:
        return len(self.windows)

    @overload
    def __getitem__(self, index: int) -> Array: ...

    @overload
    def __getitem__(self, index: slice) -> _Clips: ...

    def __getitem__(self, index: int | slice) -> Array | _Clips:
        if isinstance(index, slice):
            return _Clips(self.streams, self.clips, self.windows[index], self.rows)
        window = slice(*self.windows[index])
        whole = [stream.grid == "track" for stream in self.streams]
        arrays = [
            np.concatenate(
                list(stream.finish(_cut(clip.values, slice(0, 1) if one else window)).values()), axis=1
            )
            for stream, clip, one in zip(self.streams, self.clips, whole, strict=True)
        ]
        return np.ascontiguousarray(side_by_side(arrays, whole)[:, self.rows])


def _cut(values: Mapping[str, Array], window: slice) -> dict[str, Array]:
    return {name: array[window] for name, array in values.items()}
