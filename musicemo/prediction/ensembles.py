"""Trained ensembles: the mean predictions of several trained runs, for songs and for datasets."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from musicemo.data import rows_text
from musicemo.errors import InputError
from musicemo.evaluation import Calibration, average_evaluations
from musicemo.prediction.evaluation import RunEvaluation, evaluate_run
from musicemo.prediction.songs import Predictor, SongFeatures, SongPrediction, Sync, TaskPrediction
from musicemo.prediction.trained import TrainedRun, read_calibrations, read_thresholds
from musicemo.runs import RunRecord, open_replicates, open_run
from musicemo.training import choose_device

__all__ = [
    "EnsemblePredictor",
    "TrainedEnsemble",
    "evaluate_ensemble",
    "find_trained",
    "open_predictor",
    "predictor_of",
]

#: Seconds by which the windows of models with different time grids may differ.
_APART = 1.0


@dataclass(frozen=True)
class TrainedEnsemble:
    """The trained members of an ensemble, with their weights."""

    directory: Path
    #: Content of `results.json`.
    results: Mapping[str, Any]
    record: RunRecord
    members: Sequence[TrainedRun]
    weights: Sequence[float]

    @classmethod
    def load(
        cls, record: RunRecord, device: torch.device | None = None, *, trust_local_code: bool = False
    ) -> TrainedEnsemble:
        """Load the members of an ensemble, which are looked up in the folder of runs that contains it.

        Args:
            record: the ensemble's directory.
            device: device of the predictions; None is the CPU.
            trust_local_code: see `TrainedRun.load`.

        Raises:
            InputError: the ensemble is not finished, or a member cannot be loaded.
        """
        if record.status != "done":
            raise InputError(f"{record.directory}: the ensemble is not finished (status {record.status!r})")
        listed = record.results["ensemble"]["members"]
        runs = record.directory.resolve().parent.parent
        members = []
        for member in listed:
            path = runs / member["run"]
            if not path.is_dir():
                raise InputError(
                    f"{record.directory}: its member {path} does not exist (any more). Run the experiment again"
                )
            members.append(TrainedRun.load(open_run(path), device, trust_local_code=trust_local_code))
        return cls(record.directory, record.results, record, members, [one["weight"] for one in listed])

    @property
    def calibrations(self) -> Mapping[str, Calibration]:
        """Task -> calibration of the mean predictions; see `TrainedRun.calibrations`."""
        return read_calibrations(self.directory, self.results)

    @property
    def thresholds(self) -> Mapping[str, Mapping[str, float]]:
        """Task -> tag -> probability from which on the tag is predicted; see `TrainedRun.thresholds`."""
        return read_thresholds(self.directory, self.results, self.members[0].description.tasks)


def find_trained(
    path: Path, device: torch.device | None = None, *, trust_local_code: bool = False
) -> list[TrainedRun] | list[TrainedEnsemble]:
    """Return the runs of `find_runs`, or the replicates of an ensemble.

    Args:
        path: ``runs/<name>/<run id>``, or ``runs/<name>``; see `musicemo.runs.open_replicates`.
        device: device of the predictions; None is the CPU.
        trust_local_code: see `TrainedRun.load`.

    Raises:
        InputError: the run does not exist, is not finished, or cannot be loaded.
    """
    records = open_replicates(path)
    if records[0].results.get("ensemble"):
        return [TrainedEnsemble.load(one, device, trust_local_code=trust_local_code) for one in records]
    return [TrainedRun.load(one, device, trust_local_code=trust_local_code) for one in records]


def evaluate_ensemble(
    ensemble: TrainedEnsemble, *, overrides: Sequence[str] = (), part: str | None = None
) -> RunEvaluation:
    """Evaluate the members of an ensemble, and the mean of their predictions; see `evaluate_run`.

    Raises:
        InputError: a member cannot be evaluated, or the members have different sets.
    """
    evaluations = [evaluate_run(one, overrides=overrides, part=part) for one in ensemble.members]
    try:
        mean = average_evaluations([one.evaluation for one in evaluations], ensemble.weights)
    except InputError as error:
        raise InputError(*(f"{ensemble.directory}: {problem}" for problem in error.problems)) from error
    return replace(evaluations[0], run=ensemble, evaluation=mean.decided(ensemble.thresholds))


def open_predictor(
    path: str | PathLike[str],
    *,
    sync: Sync | None = None,
    window: float | None = None,
    hop: float | None = None,
    device: str = "auto",
    trust_local_code: bool = False,
    arrays: bool = False,
) -> Predictor | EnsemblePredictor:
    """Return the predictor of a run, of replicates, or of an ensemble.

    Args:
        path: see `find_trained`.
        sync: see `Predictor`.
        window: see `Predictor`.
        hop: see `Predictor`.
        device: device of the predictions.
        trust_local_code: see `TrainedRun.load`.
        arrays: see `Predictor`.

    Raises:
        InputError: see `find_trained` and `Predictor`.
    """
    trained = find_trained(Path(path), choose_device(device), trust_local_code=trust_local_code)
    return predictor_of(trained, sync=sync, window=window, hop=hop, arrays=arrays)


def predictor_of(
    trained: Sequence[TrainedRun] | Sequence[TrainedEnsemble],
    *,
    sync: Sync | None = None,
    window: float | None = None,
    hop: float | None = None,
    arrays: bool = False,
) -> Predictor | EnsemblePredictor:
    """Return the predictor of what `find_trained` returns; see `open_predictor`.

    Raises:
        InputError: see `Predictor`.
    """
    ensembles = [one for one in trained if isinstance(one, TrainedEnsemble)]
    if ensembles:
        return EnsemblePredictor(ensembles, sync=sync, window=window, hop=hop, arrays=arrays)
    runs = [one for one in trained if isinstance(one, TrainedRun)]
    return Predictor(runs, sync=sync, window=window, hop=hop, arrays=arrays)


class EnsemblePredictor:
    """Predicts songs with one ensemble, or with several replicates of it.

    Members with the same features share their extraction. Each member predicts the windows that `Predictor` describes.
    If the windows of members with different features are not the same, the members' means over the whole song are
    averaged, and there is one window.

    Args:
        ensembles: the ensembles that `find_trained` returns.
        sync: see `Predictor`.
        window: see `Predictor`.
        hop: see `Predictor`.
        arrays: see `Predictor`.

    Raises:
        InputError: see `Predictor`.
    """

    def __init__(
        self,
        ensembles: Sequence[TrainedEnsemble],
        *,
        sync: Sync | None = None,
        window: float | None = None,
        hop: float | None = None,
        arrays: bool = False,
    ) -> None:
        self.runs = ensembles
        #: Features -> the members with them: number of the ensemble, weight, and the run without its calibration.
        groups: dict[str, list[tuple[int, float, TrainedRun]]] = {}
        for number, ensemble in enumerate(ensembles):
            for member, weight in zip(ensemble.members, ensemble.weights, strict=True):
                described = member.description
                key = json.dumps([described.extraction, rows_text(described.rows)], sort_keys=True, default=str)
                results = {name: value for name, value in member.results.items() if name != "calibration"}
                groups.setdefault(key, []).append((number, weight, replace(member, results=results)))
        self._groups = {
            key: (
                Predictor([run for _, _, run in group], sync=sync, window=window, hop=hop, arrays=arrays),
                group,
            )
            for key, group in groups.items()
        }

    def with_runs(self, places: Sequence[int]) -> EnsemblePredictor:
        """Return a predictor with some of the ensembles, which shares the feature extractors.

        Args:
            places: Their places in `runs`.
        """
        other = copy.copy(self)
        other.runs = [self.runs[place] for place in places]
        other._groups = {}
        for key, (predictor, group) in self._groups.items():
            kept = [at for at, (number, _, _) in enumerate(group) if number in places]
            if kept:
                renumbered = [(places.index(group[at][0]), *group[at][1:]) for at in kept]
                other._groups[key] = predictor.with_runs(kept), renumbered
        return other

    def with_windows(self, window: float, hop: float | None = None) -> EnsemblePredictor:
        """Return a predictor with other windows, which shares the feature extractors; see `Predictor`.

        Raises:
            InputError: the windows are invalid.
        """
        other = copy.copy(self)
        other._groups = {
            key: (predictor.with_windows(window, hop), group)
            for key, (predictor, group) in self._groups.items()
        }
        return other

    def extract(self, song: str | PathLike[str]) -> Mapping[str, SongFeatures]:
        """Extract each kind of features of a whole song, which members share.

        Raises:
            InputError: the song cannot be analyzed.
        """
        return {key: predictor.extract(song) for key, (predictor, _) in self._groups.items()}

    def predict(
        self, song: str | PathLike[str], features: Mapping[str, SongFeatures] | None = None
    ) -> SongPrediction:
        """Predict a song.

        Args:
            song: the song's path.
            features: its features, if they have been extracted already.

        Raises:
            InputError: the song cannot be analyzed, a model fails on it, or members with different time steps predict
                ratings over time.
        """
        features = features or self.extract(song)
        predictions = [predictor.predict(song, features[key]) for key, (predictor, _) in self._groups.items()]
        first = predictions[0]
        aligned = all(
            len(one.windows) == len(first.windows) and np.abs(one.windows - first.windows).max() <= _APART
            for one in predictions
        )
        tasks = {name: self._average(name, predictions, song, aligned=aligned) for name in first.tasks}
        windows = first.windows if aligned else np.array([[0.0, first.duration]])
        return replace(first, windows=windows, tasks=tasks)

    def _average(
        self, name: str, predictions: Sequence[SongPrediction], song: str | PathLike[str], *, aligned: bool
    ) -> TaskPrediction:
        first = predictions[0].tasks[name]
        totals: list[NDArray[np.float64] | float] = [0.0] * len(self.runs)
        weights = np.zeros(len(self.runs))
        for prediction, (_, group) in zip(predictions, self._groups.values(), strict=True):
            task = prediction.tasks[name]
            values = task.values
            if first.steps is not None:
                if task.steps is None or task.steps.shape != first.steps.shape:
                    raise InputError(
                        f"{fspath(song)}: the members of the ensemble predict {name!r} at different times. Use one of "
                        "its members"
                    )
            elif not aligned:
                values = values.mean(axis=1, keepdims=True)
            for (number, weight, _), of_run in zip(group, values, strict=True):
                totals[number] = totals[number] + weight * of_run
                weights[number] += weight
        means = [total / weight for total, weight in zip(totals, weights, strict=True)]
        thresholds = None
        if first.thresholds is not None:
            limits = [[one.thresholds[name][tag] for tag in first.classes] for one in self.runs]
            thresholds = np.asarray(np.mean(limits, axis=0))
        else:
            maps = [one.calibrations.get(name) for one in self.runs]
            means = [
                mean if one is None else one(np.asarray(mean)) for one, mean in zip(maps, means, strict=True)
            ]
        return replace(first, values=np.stack(means), thresholds=thresholds, spread=None)
