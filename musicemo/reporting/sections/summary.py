"""The results in words: what was learned, and how much of what can be learned."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from musicemo.evaluation import LEADING, METRICS, TITLES, Evaluation, TaskEvaluation
from musicemo.reporting.blocks import Block, Text
from musicemo.reporting.words import listed, number

__all__ = ["chances", "summary"]

Metrics = Mapping[str, Mapping[str, Any]]

#: Words for the values of predictions that do not depend on the track.
_CHANCE = {
    "regression": "no correlation",
    "series": "no correlation",
    "classification": "the share of the most frequent class",
    "tags": "the mean frequency of the tags",
    "pairs": "guessing",
}


def chances(evaluation: Evaluation) -> dict[str, float]:
    """Return task -> the leading metric that predictions have which do not depend on the track."""
    return {name: task.chance for name, task in evaluation.tasks.items() if task.ids}


def summary(metrics: Metrics, evaluation: Evaluation, results: Mapping[str, Any], part: str) -> list[Block]:
    """Return sentences on every task, by the leading metric of its kind.

    Args:
        metrics: task -> metric -> ``value``, ``low`` and ``high``.
        evaluation: The predictions.
        results: ``reliability`` of the results, for the noise ceiling.
        part: The set of the metrics.
    """
    texts = [
        text for kind, names in METRICS.items() for text in _of_kind(kind, names[0], metrics, evaluation.tasks)
    ]
    if ceiling := _ceiling(results, part):
        texts.append(ceiling)
    return [Text(text[0].upper() + text[1:]) for text in texts]


def _of_kind(kind: str, metric: str, metrics: Metrics, tasks: Mapping[str, TaskEvaluation]) -> Iterator[str]:
    scores = {
        name: one[metric]
        for name, one in metrics.items()
        if metric in one and name in tasks and tasks[name].kind == kind and one[metric].get("value") is not None
    }
    tested = {name: one for name, one in scores.items() if None not in (one.get("low"), one.get("high"))}
    better = [name for name, one in tested.items() if one["low"] > tasks[name].chance]
    worse = [name for name, one in tested.items() if one["high"] < tasks[name].chance]
    if better:
        order = sorted(better, key=lambda name: -scores[name]["value"])
        what = listed(order) if len(order) < 4 else f"{len(order)} of {len(scores)} {kind} tasks"
        what = f"All {len(order)} {kind} tasks" if 3 < len(order) == len(scores) else what[0].upper() + what[1:]
        verb = "is" if len(order) == 1 else "are"
        yield f"{what} {verb} predicted better than by chance: {TITLES[metric]} {_values(order, scores, tasks)}."
    for name in worse:
        yield (
            f"{name} is predicted worse than by chance: {TITLES[metric]} {number(scores[name]['value'], '.2f')}, and "
            f"{number(tasks[name].chance, '.2f')} for {_CHANCE[kind]}."
        )
    unknown = [name for name in tested if name not in (*better, *worse)]
    if unknown:
        title = f"{TITLES[metric]} ({_values(unknown, scores, tasks)})"
        whose = "the interval of its" if len(unknown) == 1 else "the intervals of their"
        verb = "includes" if len(unknown) == 1 else "include"
        yield (
            f"{listed(unknown)} cannot be told from chance: {whose} {title} {verb} the value for {_CHANCE[kind]}."
        )


def _values(names: list[str], scores: Mapping[str, Any], tasks: Mapping[str, TaskEvaluation]) -> str:
    values = [scores[name]["value"] for name in names]
    if len(names) > 3:
        best, least = (f"{name} {number(scores[name]['value'], '.2f')}" for name in (names[0], names[-1]))
        return f"from {least} to {best}"
    chance = [tasks[name].chance for name in names]
    return ", ".join(
        number(value, ".2f") + (f" against {number(level, '.2f')}" if level else "")
        for value, level in zip(values, chance, strict=True)
    )


def _ceiling(results: Mapping[str, Any], part: str) -> str:
    """Return how much of the noise ceiling the correlations reach."""
    shares = {}
    for task, reliability in (results.get("reliability") or {}).items():
        reached = ((reliability.get(LEADING[0]) or {}).get("reached") or {}).get(part) or {}
        if reached.get("value") is not None:
            shares[task] = reached["value"]
    if not shares:
        return ""
    order = sorted(shares, key=lambda task: -shares[task])
    each = [f"{task} {shares[task]:.0%}".replace("%", " %") for task in order]
    which = listed(each) if len(each) < 4 else f"from {each[-1]} to {each[0]}"
    return (
        f"Share of the noise ceiling, which a perfect model of these listeners' ratings would reach: {which}."
    )
