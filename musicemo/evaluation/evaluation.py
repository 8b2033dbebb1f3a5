"""Predictions on a set in the targets' units, and their metrics."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from musicemo.evaluation.intervals import (
    ClassificationResampler,
    EvaluationSettings,
    Interval,
    RegressionResampler,
    draw_counts,
    percentile_intervals,
)
from musicemo.evaluation.metrics import METRICS, SPREAD, TargetKind, classification, regression
from musicemo.evaluation.pairs import PairResampler
from musicemo.evaluation.series import SeriesResampler, padded
from musicemo.evaluation.spread import Spread
from musicemo.evaluation.tags import DEFAULT_THRESHOLD, TagResampler, choose_thresholds, tags

__all__ = ["Evaluation", "TaskEvaluation"]


@dataclass(frozen=True)
class TaskEvaluation:
    """Predictions and targets of one task on one set, for the tracks with a target, or for pairs of tracks."""

    kind: TargetKind
    #: Ids of the tracks; of pairs, see `pair_id`.
    ids: Sequence[str]
    #: `[n]`: ratings in the dataset's units, or class indices. Tags: `[n, tags]`, 1, 0, or NaN where unknown. Pairs:
    #: `[n, 2]`, number of listeners for whom each of the two tracks is higher. Series: `[n, ratings]`, NaN beyond the
    #: ratings of a track.
    target: NDArray[Any]
    #: Like `target`; for classification, the most probable class; for tags, whether each is predicted; for pairs, the
    #: score of each track.
    prediction: NDArray[Any]
    #: Classes or tags.
    classes: Sequence[str] = ()
    #: Classification: `[n, classes]`. Tags: `[n, tags]`.
    probabilities: NDArray[np.float64] | None = None
    #: Series: `[n, ratings]`, the time of each rating in seconds, NaN beyond the ratings of a track.
    times: NDArray[np.float64] | None = None
    #: Regression: scores of the predicted distributions, if distributions are predicted.
    spread: Spread | None = None

    @classmethod
    def of_series(
        cls,
        ids: Sequence[str],
        times: Sequence[NDArray[np.float64]],
        target: Sequence[NDArray[np.float64]],
        prediction: Sequence[NDArray[np.float64]],
    ) -> TaskEvaluation:
        """Return the evaluation of ratings over time; of each track, all three are `[ratings]`."""
        return cls("series", ids, padded(target), padded(prediction), times=padded(times))

    @classmethod
    def of_tags(
        cls,
        ids: Sequence[str],
        target: NDArray[np.floating],
        probabilities: NDArray[np.float64],
        classes: Sequence[str],
        thresholds: ArrayLike = DEFAULT_THRESHOLD,
    ) -> TaskEvaluation:
        """Return the evaluation of tags.

        Args:
            ids: the tracks.
            target: `[n, tags]`.
            probabilities: `[n, tags]`.
            classes: the tags.
            thresholds: probability from which on a tag is predicted, of all or of each.
        """
        decisions = probabilities >= np.asarray(thresholds)
        return cls("tags", ids, target.astype(np.float64), decisions, classes, probabilities)

    def rows(self, name: str) -> list[NDArray[np.float64]]:
        """Return ``times``, ``target`` or ``prediction`` of a series: `[ratings]` of each track."""
        assert self.times is not None
        values = getattr(self, name)
        return [row[there] for row, there in zip(values, np.isfinite(self.times), strict=True)]

    @property
    def names(self) -> tuple[str, ...]:
        """The task's metrics, the leading one first."""
        return METRICS[self.kind] if self.spread is None else (*METRICS[self.kind], *SPREAD)

    @cached_property
    def chance(self) -> float:
        """The leading metric of predictions that do not depend on the track.

        It is 0 for correlations, the share of the most frequent class for accuracy, the mean frequency of the tags for
        PR-AUC, and 0.5 for pairs. NaN without tracks.
        """
        if self.kind in ("regression", "series"):
            return 0.0
        if self.kind == "pairs":
            return 0.5
        if not len(self.target):
            return math.nan
        if self.kind == "classification":
            return float(np.bincount(self.target.astype(np.intp)).max() / len(self.target))
        known = np.isfinite(self.target)
        counts, present = known.sum(axis=0), np.where(known, self.target, 0.0).sum(axis=0)
        scored = (present > 0) & (present < counts)
        return float((present[scored] / counts[scored]).mean()) if scored.any() else math.nan

    def metrics(self) -> dict[str, Any]:
        """Return the metrics; for classification also ``per_class`` and ``confusion_matrix``; see `tags` for tags.

        Series also have ``deviations``: metric -> its standard deviation over the songs. Pairs have ``agreement``: the
        share of the listeners' judgements that agree with the majority.
        """
        return dict(self._metrics)

    @cached_property
    def _metrics(self) -> dict[str, Any]:
        if self.kind == "regression":
            of_ratings = {
                name: float(value) for name, value in regression(self.prediction, self.target).items()
            }
            return of_ratings if self.spread is None else of_ratings | self.spread.metrics()
        if self.probabilities is not None and self.kind == "tags":
            return tags(self.probabilities, self.prediction, self.target, self.classes)
        if self.kind == "pairs":
            of_pairs = self._pairs(np.ones((1, self.units)))
            return {name: float(values[0]) for name, values in of_pairs.items()} | {
                "agreement": finite(self._pairs.agreement)
            }
        if isinstance(resampler := self._resampler, SeriesResampler):
            once = np.ones((1, len(self.target)))
            scores: dict[str, Any] = {name: float(values[0]) for name, values in resampler(once).items()}
            return {
                **scores,
                "deviations": {name: finite(value) for name, value in resampler.deviations.items()},
            }
        return classification(self.prediction, self.target, self.classes)

    def metric(self, name: str) -> float:
        """Return one of the metrics."""
        return float(self._metrics[name])

    def intervals(self, settings: EvaluationSettings) -> dict[str, tuple[float, float]]:
        """Return each metric's bootstrap interval; the bounds are NaN for fewer than two tracks."""
        return percentile_intervals(self.resampled(settings.resamples), settings.confidence)

    def resampled(
        self, resamples: int, names: Sequence[str] | None = None, stream: int = 0
    ) -> dict[str, NDArray[np.float64]]:
        """Return bootstrap resamples of the metrics: `[resamples]` each, NaN if not defined.

        Two evaluations with the same number of tracks, in the same order, use the same resamples, so that their
        differences are paired.

        Args:
            resamples: number of resamples.
            names: the metrics; by default all.
            stream: another number gives independent draws.
        """
        return _resample({"": self}, resamples, names, stream)[""]

    @cached_property
    def _resampler(
        self,
    ) -> RegressionResampler | ClassificationResampler | TagResampler | PairResampler | SeriesResampler:
        if self.kind == "regression":
            return RegressionResampler(self.prediction, self.target)
        if self.probabilities is not None and self.kind == "tags":
            return TagResampler(self.probabilities, self.prediction, self.target)
        if self.kind == "pairs":
            return self._pairs
        if self.kind == "series":
            return SeriesResampler(self.prediction, self.target)
        return ClassificationResampler(self.prediction, self.target, len(self.classes))

    def _resample(self, counts: NDArray[np.float64], names: Sequence[str]) -> dict[str, NDArray[np.float64]]:
        """Return metrics of every resample, `[resamples]` each, from counts `[resamples, units]`."""
        if self.spread is None:
            return self._resampler(counts, names)
        spread = self.spread.resampled(counts)
        others = self._resampler(counts, [name for name in names if name not in spread])
        return {name: spread[name] if name in spread else others[name] for name in names}

    @property
    def units(self) -> int:
        """Number of units that a resample draws: the tracks, or groups of pairs (see `PairResampler`)."""
        return self._pairs.units if self.kind == "pairs" else len(self.target)

    @cached_property
    def _pairs(self) -> PairResampler:
        return PairResampler(self.prediction, self.target, self.ids)

    def to_json(self, settings: EvaluationSettings) -> dict[str, Any]:
        """Return ``metric -> {value, low, high}`` and the rest of `metrics`; undefined values are null."""
        return self._to_json(self.intervals(settings))

    def _to_json(self, intervals: Mapping[str, Interval]) -> dict[str, Any]:
        """Return `to_json`; both bounds of a metric without an interval are null."""
        content: dict[str, Any] = {"tracks": len(self.target)}
        for name, value in self.metrics().items():
            if name in self.names:
                low, high = intervals.get(name, (math.nan, math.nan))
                content[name] = {"value": finite(value), "low": finite(low), "high": finite(high)}
            else:
                content[name] = value
        return content


@dataclass(frozen=True)
class Evaluation:
    """The evaluation of all tasks on one set."""

    tasks: Mapping[str, TaskEvaluation] = field(default_factory=dict)
    _intervals: dict[tuple[int, float], dict[str, dict[str, Interval]]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def choose_thresholds(self) -> dict[str, dict[str, float]]:
        """Return ``task -> tag -> threshold`` for the tasks with tags; see `musicemo.evaluation.tags`."""
        return {
            name: dict(
                zip(task.classes, choose_thresholds(task.probabilities, task.target).tolist(), strict=True)
            )
            for name, task in self.tasks.items()
            if task.kind == "tags" and task.probabilities is not None
        }

    def decided(self, thresholds: Mapping[str, Mapping[str, float]]) -> Evaluation:
        """Return the evaluation with other thresholds, ``task -> tag -> threshold``."""
        decided = {}
        for name, task in self.tasks.items():
            if task.kind == "tags" and task.probabilities is not None:
                limits = np.array([thresholds[name][tag] for tag in task.classes])
                task = replace(task, prediction=task.probabilities >= limits)
            decided[name] = task
        return Evaluation(decided)

    def of_dataset(self, name: str) -> Evaluation:
        """Return the evaluation on the tracks of one of several joined datasets, whose ids begin with its name.

        Tasks without such a track are left out.
        """
        tasks = {}
        for task, one in self.tasks.items():
            places = [place for place, track in enumerate(one.ids) if track.startswith(f"{name}/")]
            if places:
                tasks[task] = replace(
                    one,
                    ids=[one.ids[place] for place in places],
                    target=one.target[places],
                    prediction=one.prediction[places],
                    probabilities=None if one.probabilities is None else one.probabilities[places],
                    times=None if one.times is None else one.times[places],
                )
        return Evaluation(tasks)

    def intervals(self, settings: EvaluationSettings) -> Mapping[str, Mapping[str, Interval]]:
        """Return ``task -> metric -> (low, high)``, see `TaskEvaluation.intervals`; computed once."""
        key = settings.resamples, settings.confidence
        if key not in self._intervals:
            resampled = _resample(self.tasks, settings.resamples)
            self._intervals[key] = {
                name: percentile_intervals(values, settings.confidence) for name, values in resampled.items()
            }
        return self._intervals[key]

    def to_json(self, settings: EvaluationSettings, *, intervals: bool = True) -> dict[str, Any]:
        """Return ``task -> metric -> {value, low, high}``.

        Args:
            settings: resamples and confidence of the intervals.
            intervals: whether to compute them; both bounds are null otherwise.
        """
        bounds = self.intervals(settings) if intervals else {}
        return {name: task._to_json(bounds.get(name, {})) for name, task in self.tasks.items()}


def _resample(
    tasks: Mapping[str, TaskEvaluation], resamples: int, names: Sequence[str] | None = None, stream: int = 0
) -> dict[str, dict[str, NDArray[np.float64]]]:
    """Return ``task -> metric -> [resamples]``; tasks with the same number of units share the draws."""
    sizes: dict[int, list[str]] = {}
    for name, task in tasks.items():
        sizes.setdefault(task.units, []).append(name)
    blocks: dict[str, list[dict[str, NDArray[np.float64]]]] = {name: [] for name in tasks}
    for size, alike in sizes.items():
        if size < 2:
            for name in alike:
                metrics = tasks[name].names if names is None else names
                blocks[name].append({metric: np.full(resamples, np.nan) for metric in metrics})
            continue
        for counts in draw_counts(size, resamples, stream):
            for name in alike:
                task = tasks[name]
                blocks[name].append(task._resample(counts, task.names if names is None else names))
    return {
        name: {metric: np.concatenate([block[metric] for block in drawn]) for metric in drawn[0]}
        for name, drawn in blocks.items()
    }


def finite(value: float) -> float | None:
    """Return the value, or None if it is not finite, because JSON cannot represent it."""
    return value if math.isfinite(value) else None
