"""Metrics of experiments by seed and by resample, and the variance of combinations of their means."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np

from musicemo.comparison.replicates import Replicates
from musicemo.comparison.results import Row, Score
from musicemo.comparison.statistics import Estimate, Floats, estimate, of_seeds, of_tracks
from musicemo.evaluation import EvaluationSettings, TaskEvaluation, bounds

__all__ = ["Key", "Sampling", "fold_mean", "same_targets"]

#: Experiment, task and metric.
Key = tuple[str, str, str]


class Sampling:
    """Metrics of every experiment for each seed, and resampled means over the seeds."""

    def __init__(self, experiments: Mapping[str, Replicates], settings: EvaluationSettings) -> None:
        self._experiments = experiments
        self._settings = settings
        self._streams = _streams(experiments)
        self.values = cache(self._values)
        self._resampled = cache(self._resample)

    def _values(self, name: str, task: str, metric: str) -> Floats:
        """Return the metric of each seed."""
        replicates = self._experiments[name].per_seed
        return np.array([one.evaluation.tasks[task].metric(metric) for one in replicates], dtype=np.float64)

    def mean(self, name: str, task: str, metric: str) -> float:
        """Return the mean over seeds."""
        return float(self.values(name, task, metric).mean())

    def _resample(self, name: str, task: str, metric: str) -> Floats:
        """Return `[seeds, resamples]`; evaluations with the same targets use the same draws of tracks."""
        draws = [
            one.evaluation.tasks[task].resampled(self._settings.resamples, [metric], self._streams[name, task])[
                metric
            ]
            for one in self._experiments[name].per_seed
        ]
        return np.array(draws)

    def paired(self, first: str, second: str, task: str) -> bool:
        """Return whether two experiments are resampled together on a task."""
        return self._streams[first, task] == self._streams[second, task]

    def estimate(self, weights: Mapping[Key, float], value: float | None = None) -> Estimate:
        """Return the weighted sum of means over seeds, with its interval and test.

        Experiments with the same seeds are paired by seed, because networks of one seed start from the same
        weights and see the same batches. Seeds of other experiments are independent.

        Args:
            weights: weight of each mean; the gradient of the estimate if it is not linear.
            value: the estimate, if it is not the weighted sum.
        """
        total = sum(weight * self.mean(*key) for key, weight in weights.items())
        seeds: dict[tuple[int, ...], list[Key]] = {}
        for key in weights:
            seeds.setdefault(tuple(self._experiments[key[0]].seeds), []).append(key)
        everyone = np.zeros(self._settings.resamples)
        sources = []
        for together in seeds.values():
            resampled = np.sum([weights[key] * self._resampled(*key) for key in together], axis=0)
            values = np.sum([weights[key] * self.values(*key) for key in together], axis=0)
            everyone += resampled.mean(axis=0)
            sources.append(of_seeds(values, resampled))
        sources.append(of_tracks(everyone, min(self._task(name, task).units for name, task, _ in weights)))
        return estimate(total if value is None else value, sources, self._settings.confidence)

    def score(self, name: str, tasks: Sequence[str], metric: str) -> Score:
        """Return an experiment's score, the mean over tasks."""
        share = 1 / len(tasks)
        low, high = bounds(metric)
        whole = self.estimate({(name, task, metric): share for task in tasks})
        values = np.mean([self.values(name, task, metric) for task in tasks], axis=0)
        over_seeds = Estimate(whole.value, math.nan, math.nan, math.nan)
        if len(values) > 1:
            over_seeds = estimate(
                whole.value, [of_seeds(values, np.zeros((len(values), 1)))], self._settings.confidence
            )
        return Score(
            experiment=name,
            values=[float(value) for value in values],
            mean=whole.value,
            deviation=statistics.stdev(values) if len(values) > 1 else math.nan,
            low=max(whole.low, low),
            high=min(whole.high, high),
            seeds_low=max(over_seeds.low, low),
            seeds_high=min(over_seeds.high, high),
            folds=self._folds(name, tasks, metric),
            tracks=min(len(self._task(name, task).ids) for task in tasks),
        )

    def above_chance(self, row: Row) -> bool:
        """Return whether the interval of a baseline's leading metric is above the value of chance."""
        (low,) = (score.low for score in row.scores if score.experiment == row.baseline)
        return low > self._task(row.baseline, row.task).chance

    def _folds(self, name: str, tasks: Sequence[str], metric: str) -> list[float]:
        """Return the metric of each fold of each repeat, the mean over seeds and tasks."""
        experiment = self._experiments[name]
        return [
            float(
                np.mean(
                    [
                        [one.folds[fold].tasks[task].metric(metric) for task in tasks]
                        for one in experiment.per_seed
                        if one.repeat == repeat
                    ]
                )
            )
            for repeat in sorted({one.repeat for one in experiment.per_seed})
            for fold in experiment.folds
        ]

    def _task(self, name: str, task: str) -> TaskEvaluation:
        return self._experiments[name].tasks[task]


def fold_mean(experiment: Replicates, task: str, metric: str, settings: EvaluationSettings) -> Estimate:
    """Return the mean of a metric over the folds and the seeds, with its interval over tracks and seeds.

    The tracks are resampled within each fold.
    """
    values, draws = [], []
    for one in experiment.per_seed:
        folds = [evaluation.tasks[task] for evaluation in one.folds.values()]
        values.append(np.mean([fold.metric(metric) for fold in folds]))
        resampled = [
            fold.resampled(settings.resamples, [metric], stream)[metric] for stream, fold in enumerate(folds)
        ]
        draws.append(np.mean(resampled, axis=0))
    each, drawn = np.array(values, dtype=np.float64), np.array(draws)
    tracks = len(experiment.tasks[task].ids)
    sources = [of_seeds(each, drawn), of_tracks(drawn.mean(axis=0), tracks)]
    return estimate(float(each.mean()), sources, settings.confidence)


def same_targets(first: TaskEvaluation, second: TaskEvaluation) -> bool:
    """Return whether two evaluations have the same tracks, in the same order, with the same targets."""
    if list(first.ids) != list(second.ids) or first.kind != second.kind:
        return False
    if first.times is not None and second.times is not None:
        return first.times.shape == second.times.shape and all(
            np.allclose(getattr(first, name), getattr(second, name), rtol=1e-6, atol=1e-9, equal_nan=True)
            for name in ("times", "target")
        )
    if first.kind in ("regression", "pairs"):
        return bool(np.allclose(first.target, second.target, rtol=1e-6, atol=1e-9))
    if first.kind == "tags":
        return list(first.classes) == list(second.classes) and np.array_equal(
            first.target, second.target, equal_nan=True
        )
    labels = [[task.classes[index] for index in task.target] for task in (first, second)]
    return labels[0] == labels[1]


def _streams(experiments: Mapping[str, Replicates]) -> dict[tuple[str, str], int]:
    """Number the different targets of each task. Experiments with the same number are resampled together."""
    streams: dict[tuple[str, str], int] = {}
    by_task: dict[str, list[TaskEvaluation]] = {}
    for name, experiment in experiments.items():
        for task, evaluation in experiment.tasks.items():
            others = by_task.setdefault(task, [])
            place = next(
                (at for at, other in enumerate(others) if same_targets(other, evaluation)), len(others)
            )
            if place == len(others):
                others.append(evaluation)
            streams[name, task] = place
    return streams
