"""The results in words: what was learned, and how much of what can be learned."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from musicemo.evaluation import LEADING, METRICS, TITLES, Evaluation, TaskEvaluation
from musicemo.reporting.blocks import Block, Text
from musicemo.reporting.words import listed, number

__all__ = ["chances", "summary"]

Metrics = Mapping[str, Mapping[str, Any]]

#: Words for the values of predictions that do not depend on the track.
_CHANCE = {
    "regression": "the value of no correlation",
    "series": "the value of no correlation",
    "classification": "the share of the most frequent class",
    "tags": "the mean frequency of the tags",
    "pairs": "the value of guessing",
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
        against = _against(kind, order, tasks)
        yield f"{what} {verb} predicted better than by chance: {TITLES[metric]} {_values(order, scores)}{against}."
    for name in worse:
        against = _against(kind, [name], tasks) or f", below {_CHANCE[kind]}"
        yield f"{name} is predicted worse than by chance: {TITLES[metric]} {_values([name], scores)}{against}."
    unknown = sorted(
        (name for name in tested if name not in (*better, *worse)), key=lambda name: -scores[name]["value"]
    )
    if unknown:
        whose = "the interval of its" if len(unknown) == 1 else "the intervals of their"
        verb = "includes" if len(unknown) == 1 else "include"
        yield (
            f"{listed(unknown)} cannot be told from chance: {whose} {TITLES[metric]} ({_values(unknown, scores)}) "
            f"{verb} {_levels(unknown, tasks)}, {_CHANCE[kind]}."
        )


def _against(kind: str, names: Sequence[str], tasks: Mapping[str, TaskEvaluation]) -> str:
    """Return the values of chance, unless they are 0."""
    if not any(tasks[name].chance for name in names):
        return ""
    return f", against {_levels(names, tasks)}, {_CHANCE[kind]}"


def _levels(names: Sequence[str], tasks: Mapping[str, TaskEvaluation]) -> str:
    """Return the values of chance, each once: ``0.25``, ``0.25 and 0.50``, ``0.10 to 0.50``."""
    levels = sorted({number(tasks[name].chance, ".2f") for name in names})
    if levels == ["0.00"]:
        return "0"
    return listed(levels) if len(levels) < 3 else f"{levels[0]} to {levels[-1]}"


def _values(names: Sequence[str], scores: Mapping[str, Any]) -> str:
    values = [number(scores[name]["value"], ".2f") for name in names]
    if len(names) > 3:
        return f"from {names[-1]} {values[-1]} to {names[0]} {values[0]}"
    return listed(values)


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
