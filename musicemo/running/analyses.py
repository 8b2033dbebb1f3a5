"""What a run's results say beside its metrics: noise ceilings, scores within genres, calibration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from musicemo.contracts import Series, Track
from musicemo.data import Split, Task, Tracks
from musicemo.evaluation import (
    Calibration,
    Evaluation,
    EvaluationSettings,
    calibration_report,
    controlled_scores,
    finite,
    fit_calibration,
    group_means,
    rating_reliability,
    series_reliability,
)
from musicemo.training.scoring import score_spread

__all__ = ["analyse_evaluations"]

#: Parts that a model is not fitted to.
_HELD_OUT = ("val", "test")


def analyse_evaluations(
    tracks: Tracks, split: Split, evaluations: Mapping[str, Evaluation], settings: EvaluationSettings
) -> dict[str, Any]:
    """Return what `results.json` has of a run's evaluations beside ``metrics``; a key is there where it applies.

    ``reliability``: task with ratings -> ``tracks``, ``raters`` (``min``, ``median``, ``max``), ``splits``, and for
    ``spearman`` and ``pearson``, or for ``song_pearson`` and ``pooled_pearson`` of a series, each ``reliability``
    (value, low, high), ``ceiling`` and ``reached``: part -> the model's correlation and its interval as shares of the
    ceiling. Of the tasks whose tracks have single listeners' ratings; see `musicemo.evaluation.Reliability`.

    ``controlled``: ``by``, the target that is controlled for; ``parts``: part -> regression task -> the scores of
    `musicemo.evaluation.controlled_scores`; and ``labels``: part -> track id -> its label. With ``evaluation.control``.

    ``calibration``: ``method``, and ``tasks``: regression task -> either ``skipped``, a reason, or ``tracks``, the
    ``map`` (see `musicemo.evaluation.Calibration.from_json`) and ``parts``: part -> metric -> ``before`` and
    ``after``. With ``evaluation.calibration``; fitted on the validation part.

    ``distributions``: task that learns a distribution -> ``type``, ``listeners`` of a track (``min``, ``median``,
    ``max``), and ``parts``: part -> ``crps`` and ``nll`` (value, low, high), the mean predicted
    ``deviation``, ``coverage``: probability of a central interval -> share of the listeners in it, and ``reference``:
    the scores of the distribution of all ratings in the training set.

    Args:
        tracks: the experiment's tracks.
        split: their parts.
        evaluations: part -> what the model made of it.
        settings: the table ``[evaluation]``.
    """
    analyses = {
        "reliability": _reliability(tracks, evaluations, settings),
        "controlled": _controlled(tracks, split, evaluations, settings),
        "calibration": _calibration(tracks, evaluations, settings),
        "distributions": _distributions(tracks, split, evaluations, settings),
    }
    return {name: value for name, value in analyses.items() if value}


def _distributions(
    tracks: Tracks, split: Split, evaluations: Mapping[str, Evaluation], settings: EvaluationSettings
) -> dict[str, Any]:
    tables = {}
    place = {name: index for index, name in enumerate(tracks.ids)}
    for task in tracks.tasks:
        if task.distribution is None:
            continue
        ratings = tracks.listeners[task.name]
        counts = np.isfinite(ratings).sum(axis=1)
        rated = counts[counts > 0]
        constant = task.distribution.constant(torch.from_numpy(ratings[split.parts["train"]]))
        parts = {}
        for part in (part for part in _HELD_OUT if part in evaluations):
            evaluation = evaluations[part].tasks[task.name]
            if evaluation.spread is None or not len(evaluation.ids):
                continue
            listeners = ratings[[place[name] for name in evaluation.ids]]
            reference = score_spread(task, constant.expand(len(listeners), -1), listeners)
            intervals = evaluations[part].intervals(settings)[task.name]
            parts[part] = {
                **{
                    name: {
                        "value": value,
                        "low": finite(intervals[name][0]),
                        "high": finite(intervals[name][1]),
                    }
                    for name, value in evaluation.spread.metrics().items()
                },
                **evaluation.spread.to_json(),
                "reference": reference.metrics(),
            }
        tables[task.name] = {
            "type": task.distribution.type,
            "listeners": {"min": int(rated.min()), "median": float(np.median(rated)), "max": int(rated.max())},
            "parts": parts,
        }
    return tables


def _ratings(tracks: Tracks) -> list[Task]:
    return [task for task in tracks.tasks if task.kind == "regression"]


def _reliability(
    tracks: Tracks, evaluations: Mapping[str, Evaluation], settings: EvaluationSettings
) -> dict[str, Any]:
    tables = {}
    for task in (task for task in tracks.tasks if task.rated):
        rated = [
            track
            for track in tracks.tracks
            if track.ratings.get(task.target) is not None and track.targets.get(task.target) is not None
        ]
        if task.kind == "series":
            reliability = series_reliability([_over_time(track, task.target) for track in rated], settings)
        else:
            ratings = [cast("Sequence[float]", track.ratings[task.target]) for track in rated]
            reliability = rating_reliability(ratings, settings)
        if reliability is None:
            continue
        table = reliability.to_json()
        for metric in reliability.values:
            ceiling = reliability.ceiling(metric)
            table[metric]["reached"] = {
                part: _shares(evaluations[part], task.name, metric, ceiling, settings)
                for part in _HELD_OUT
                if part in evaluations
            }
        tables[task.name] = table
    return tables


def _over_time(track: Track, target: str) -> NDArray[np.float64]:
    """Return `[listeners, times]`: the ratings of each listener at the times of the target, NaN where there is none."""
    mean = cast("Series", track.targets[target])
    listeners = cast("Sequence[Series]", track.ratings[target])
    rows = [np.interp(mean.times, one.times, one.values, left=np.nan, right=np.nan) for one in listeners]
    return np.array(rows).reshape(len(rows), len(mean.values))


def _shares(
    evaluation: Evaluation, task: str, metric: str, ceiling: float, settings: EvaluationSettings
) -> dict[str, float | None]:
    low, high = evaluation.intervals(settings)[task][metric]
    ends = {"value": evaluation.tasks[task].metric(metric), "low": low, "high": high}
    return {end: finite(value / ceiling) for end, value in ends.items()}


def _controlled(
    tracks: Tracks, split: Split, evaluations: Mapping[str, Evaluation], settings: EvaluationSettings
) -> dict[str, Any]:
    if settings.control is None:
        return {}
    labels = tracks.labels(settings.control)
    groups = {name: label for name, label in zip(tracks.ids, labels, strict=True) if label is not None}
    parts: dict[str, dict[str, Any]] = {}
    for part in (part for part in _HELD_OUT if part in evaluations):
        for task in _ratings(tracks):
            _, values = tracks.column(task.name)
            trained = [
                index for index in split.parts["train"] if labels[index] is not None and values[index] >= 0
            ]
            train = [(str(labels[index]), float(task.decode(values[index]))) for index in trained]
            alone = group_means(groups, train)
            scores = controlled_scores([evaluations[part].tasks[task.name]], groups, alone, settings)
            if scores is not None:
                parts.setdefault(part, {})[task.name] = scores
    held_out = {
        part: {
            tracks.ids[index]: groups[tracks.ids[index]]
            for index in split.parts[part]
            if labels[index] is not None
        }
        for part in parts
    }
    return {"by": settings.control, "parts": parts, "labels": held_out}


def _calibration(
    tracks: Tracks, evaluations: Mapping[str, Evaluation], settings: EvaluationSettings
) -> dict[str, Any]:
    if settings.calibration == "none":
        return {}
    tasks: dict[str, Any] = {}
    for task in _ratings(tracks):
        name = task.name
        fitted = (
            fit_calibration(evaluations["val"].tasks[name], settings.calibration)
            if "val" in evaluations
            else "there is no validation part"
        )
        if isinstance(fitted, Calibration):
            tasks[name] = {
                "tracks": len(evaluations["val"].tasks[name].ids),
                "map": fitted.to_json(),
                "parts": {
                    part: calibration_report(evaluation.tasks[name], fitted)
                    for part, evaluation in evaluations.items()
                },
            }
        else:
            tasks[name] = {"skipped": fitted}
    return {"method": settings.calibration, "tasks": tasks}
