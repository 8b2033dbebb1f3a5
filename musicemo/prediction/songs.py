"""Predictions for songs, as a whole and over time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path
from typing import Literal, overload

import numpy as np
import torch
from numpy.typing import NDArray

from musicemo import features
from musicemo.contracts import FEATURE_ROWS, TargetKind
from musicemo.data import Task, rows_text
from musicemo.errors import InputError
from musicemo.features import Analysis, Failure, Recipe, analyse
from musicemo.prediction.trained import TrainedRun, find_runs
from musicemo.prediction.windows import column_edges, cut_by_columns, cut_by_seconds
from musicemo.training import choose_device

__all__ = ["Predictor", "SongPrediction", "TaskPrediction", "failure_of"]

Sync = Literal["beat", "frame"]
Array = NDArray[np.float32]

_SILENCE = -80.0
"""The least value of a mel spectrogram, in dB."""


@dataclass(frozen=True)
class TaskPrediction:
    """Prediction of one task for one song."""

    kind: TargetKind
    range: tuple[float, float]
    classes: Sequence[str]
    #: Ratings in the dataset's units `[runs, windows]`, or probabilities `[runs, windows, classes]` of classes or tags.
    values: NDArray[np.float64]
    #: Tags: `[classes]`, probability from which on a tag is predicted: the mean over the runs.
    thresholds: NDArray[np.float64] | None = None

    @property
    def value(self) -> NDArray[np.float64]:
        """The mean over windows and runs: a scalar, or `[classes]`."""
        mean: NDArray[np.float64] = self.values.mean(axis=(0, 1))
        return mean

    @property
    def ranked(self) -> list[int]:
        """The classes or tags, the most probable first."""
        return [int(place) for place in np.argsort(-self.value, kind="stable")]

    @property
    def beyond(self) -> bool:
        """Whether the value is a rating outside the range of the ratings."""
        low, high = self.range
        return self.kind == "regression" and not low <= float(self.value) <= high

    @property
    def deviation(self) -> NDArray[np.float64] | None:
        """The standard deviation of the value over the runs, with the shape of the value; None for one run."""
        if len(self.values) < 2:
            return None
        deviation: NDArray[np.float64] = self.values.mean(axis=1).std(axis=0, ddof=1)
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


def failure_of(song: str | PathLike[str], error: BaseException) -> Failure:
    """Return the reason why a song has no prediction.

    Args:
        song: the song's path.
        error: the error that its analysis or prediction raised.
    """
    if isinstance(error, torch.OutOfMemoryError):
        error = MemoryError()
    return features.failure_of(song, error, "predicted")


class Predictor:
    """Predicts songs with one run, or with several replicates of it.

    A song with no more columns (beats or frames) than the longest training track is one clip, as in training.
    A longer song is cut into windows of the median training track's length, overlapping by half; its value is the mean
    over the windows. The dB of the mel spectrogram are relative to the loudest moment of each window, as in a training
    clip. Silent windows are left out.

    Args:
        runs: the runs that `find_runs` returns.
        sync: whether a column of the features is a beat or a frame, for a run whose dataset does not record it.
        window: length of a window in seconds, instead of the length in training.
        hop: seconds from one window to the next; by default half a window.

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
    ) -> None:
        if isinstance(runs, str | PathLike):
            runs = find_runs(Path(runs), choose_device(device), trust_local_code=trust_local_code)
        for name, seconds in (("window", window), ("hop", hop)):
            if seconds is not None and not 0 < seconds < math.inf:
                raise InputError(f"--{name} {seconds:g}: must be above 0 seconds")
        if hop is not None and window is None:
            raise InputError(f"--hop {hop:g}: requires --window")
        self.runs = runs
        described, directory = runs[0].description, runs[0].directory
        if described.sync is not None and sync not in (None, described.sync):
            raise InputError(f"--sync {sync}: {directory} was trained on {described.sync}-wise features")
        chosen = described.sync or sync
        if chosen is None:
            raise InputError(
                f"{directory}: the time grid of the run's features is not recorded. "
                "Specify it with --sync beat or --sync frame"
            )
        self.sync: Sync = chosen
        self.recipe = (described.recipe or Recipe()).whole
        rows = described.rows
        given = described.recipe is not None or rows in FEATURE_ROWS.values()
        if not given or rows.stop > self.recipe.rows:
            raise InputError(
                f"{directory}: was trained on rows {rows_text(rows)} of its dataset's arrays, which are not "
                f"the features of audio: {self.recipe.mels} of a mel spectrogram, 12 of a chromagram, or both"
            )
        self._rows, self._lengths = rows, described.lengths
        self._window, self._hop = window, hop

    def analyse(self, song: str | PathLike[str]) -> Analysis:
        """Extract the features of a whole song, as in the training of the runs.

        Raises:
            InputError: the song cannot be analyzed; the message begins with the path.
        """
        return analyse(song, self.recipe)

    def predict(self, song: str | PathLike[str], analysis: Analysis | None = None) -> SongPrediction:
        """Predict a song.

        Args:
            song: the song's path.
            analysis: its features, if they have been extracted already.

        Raises:
            InputError: the song cannot be analyzed, or the model fails on it.
        """
        clips, windows, duration = self.clips(analysis or self.analyse(song))
        try:
            found = [run.calibrated(run.predict(clips)) for run in self.runs]
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
            )
            for task in self.runs[0].description.tasks
        }
        for name, task in tasks.items():
            if not np.isfinite(task.values).all():
                raise InputError(f"{fspath(song)}: the prediction of {name!r} is not finite")
        return SongPrediction(fspath(song), duration, windows, tasks)

    def _thresholds(self, task: Task) -> NDArray[np.float64]:
        of_runs = [[run.thresholds[task.name][tag] for tag in task.classes] for run in self.runs]
        return np.asarray(np.mean(of_runs, axis=0))

    def clips(self, analysis: Analysis) -> tuple[Sequence[Array], NDArray[np.float64], float]:
        """Return the windows' features, each `[time, feature]`, the windows `[windows, 2]` and the duration in seconds.

        The features of a window are copied on access, so that many windows take no more memory than the song.
        """
        edges = column_edges(analysis, self.sync)
        columns = len(edges) - 1
        if self._window is not None:
            windows = cut_by_seconds(edges, self._window, self._hop or self._window / 2)
        else:
            _, median, most = self._lengths
            windows = cut_by_columns(columns, columns if columns <= most else median)
        array = analysis.beat if self.sync == "beat" else analysis.frame
        mels = analysis.recipe.mels
        loud = [window for window in windows if array[:mels, slice(*window)].max() > _SILENCE]
        if not loud:  # possible with gaps between the windows
            raise InputError(f"the song is silent in every window of {self._window:g} s")
        kept = np.array(loud)
        return _Clips(array, kept, mels, self._rows), edges[kept], float(edges[-1])


@dataclass(frozen=True)
class _Clips(Sequence[Array]):
    """The features of a song's windows, with dB relative to the loudest moment of each window."""

    #: `[feature, columns]`.
    array: Array
    #: `[windows, 2]`: first and past-the-last column.
    windows: NDArray[np.int64]
    mels: int
    rows: slice

    def __len__(self) -> int:
        return len(self.windows)

    @overload
    def __getitem__(self, index: int) -> Array: ...

    @overload
    def __getitem__(self, index: slice) -> _Clips: ...

    def __getitem__(self, index: int | slice) -> Array | _Clips:
        if isinstance(index, slice):
            return _Clips(self.array, self.windows[index], self.mels, self.rows)
        clip = self.array[:, slice(*self.windows[index])].copy()
        clip[: self.mels] -= clip[: self.mels].max()
        return np.ascontiguousarray(clip[self.rows].T)
