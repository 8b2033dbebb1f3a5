"""Analyses of all seeds and folds of an experiment: noise ceilings, scores within genres, calibration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from musicemo.comparison.replicates import Replicates
from musicemo.comparison.results import Row
from musicemo.evaluation import RELIABLE, SPREAD, EvaluationSettings, controlled_scores, finite
from musicemo.runs import RunRecord

__all__ = ["analyse_replicates"]


def analyse_replicates(
    replicates: Replicates, rows: Sequence[Row], settings: EvaluationSettings
) -> dict[str, Any]:
    """Return the analyses of all seeds and folds combined; see `musicemo.running.analyses.analyse_evaluations`.

    ``reliability``: the ceilings are those of the ratings, ``reached`` is the share of them that `rows` have.
    ``controlled``: groups and their mean ratings are those that the runs recorded; each fold's baseline is that of its
    own training set, in the first seed's runs. ``calibration``:
    means over the runs, without a map, because each run has another one. ``distributions``: the scores
    are those in `rows`, the rest are means over the runs.

    Args:
        replicates: the replicates.
        rows: their metrics, with intervals.
        settings: the experiment's table ``[evaluation]``.
    """
    runs = replicates.records
    of_first_seed = runs[: len(replicates.per_seed[0].records)]
    every = {
        "reliability": _reliability(replicates, runs[0], rows),
        "controlled": _controlled(replicates, of_first_seed, settings),
        "calibration": _calibration(replicates, runs),
        "distributions": _distributions(replicates, runs, rows),
    }
    return {name: value for name, value in every.items() if value}


def _reliability(replicates: Replicates, run: RunRecord, rows: Sequence[Row]) -> dict[str, Any]:
    scores = {(row.task, row.metric): row.scores[0] for row in rows}
    tasks: dict[str, Any] = {}
    for task, reliability in (run.results.get("reliability") or {}).items():
        tasks[task] = dict(reliability)
        for metric in (metric for metric in RELIABLE if metric in reliability):
            if (score := scores.get((task, metric))) is not None:
                ceiling = reliability[metric]["ceiling"]
                ends = {"value": score.mean, "low": score.low, "high": score.high}
                reached = {name: finite(end / ceiling) if ceiling else None for name, end in ends.items()}
                tasks[task][metric] = reliability[metric] | {"reached": {replicates.part: reached}}
    return tasks


def _controlled(
    replicates: Replicates, runs: Sequence[RunRecord], settings: EvaluationSettings
) -> dict[str, Any]:
    recorded = [run.results.get("controlled") or {} for run in runs]
    if any(one.get("by") != settings.control or not one.get("labels") for one in recorded):
        return {}
    groups: dict[str, str] = {}
    alone: dict[str, dict[str, float]] = {}
    for controlled in recorded:
        labels = controlled["labels"].get(replicates.part, {})
        groups |= labels
        for name, scores in controlled["parts"].get(replicates.part, {}).items():
            means = {label: group["mean"] for label, group in scores["groups"].items()}
            alone.setdefault(name, {}).update(
                {track: means[label] for track, label in labels.items() if label in means}
            )
    tasks = {}
    for name in (name for name in alone if name in replicates.tasks):
        every = [one.evaluation.tasks[name] for one in replicates.per_seed]
        known = {track: label for track, label in groups.items() if track in alone[name]}
        if (scores := controlled_scores(every, known, alone[name], settings)) is not None:
            tasks[name] = scores
    return {"by": settings.control, "parts": {replicates.part: tasks}} if tasks else {}


def _calibration(replicates: Replicates, runs: Sequence[RunRecord]) -> dict[str, Any]:
    every = [run.results.get("calibration") or {} for run in runs]
    tasks: dict[str, Any] = {}
    for name in every[0].get("tasks", {}):
        of_runs = [one.get("tasks", {}).get(name, {"skipped": "it is not in every run"}) for one in every]
        if skipped := [task["skipped"] for task in of_runs if "skipped" in task]:
            tasks[name] = {"skipped": skipped[0]}
            continue
        parts = [task.get("parts", {}).get(replicates.part, {}) for task in of_runs]
        metrics = {
            metric: {end: _mean([part[metric][end] for part in parts]) for end in ("before", "after")}
            for metric in parts[0]
            if all(metric in part for part in parts)
        }
        tasks[name] = {"parts": {replicates.part: metrics}}
    return {"method": every[0]["method"], "tasks": tasks} if tasks else {}


def _distributions(replicates: Replicates, runs: Sequence[RunRecord], rows: Sequence[Row]) -> dict[str, Any]:
    scores = {(row.task, row.metric): row.scores[0] for row in rows}
    tasks: dict[str, Any] = {}
    for name, first in (runs[0].results.get("distributions") or {}).items():
        of_runs = [((run.results.get("distributions") or {}).get(name) or {}).get("parts", {}) for run in runs]
        parts = [one[replicates.part] for one in of_runs if replicates.part in one]
        measured = {metric: scores[name, metric] for metric in SPREAD if (name, metric) in scores}
        if len(parts) < len(runs) or len(measured) < len(SPREAD):
            continue
        tasks[name] = first | {
            "parts": {
                replicates.part: {
                    **{
                        metric: {"value": one.mean, "low": finite(one.low), "high": finite(one.high)}
                        for metric, one in measured.items()
                    },
                    "deviation": _mean([part["deviation"] for part in parts]),
                    **{
                        key: {label: _mean([part[key][label] for part in parts]) for label in parts[0][key]}
                        for key in ("coverage", "reference")
                    },
                }
            }
        }
    return tasks


def _mean(values: Sequence[float | None]) -> float | None:
    present = [value for value in values if value is not None]
    return sum(present) / len(present) if len(present) == len(values) else None
