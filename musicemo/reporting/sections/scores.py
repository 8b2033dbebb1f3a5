"""Scores of runs: metrics with intervals, class by class, and their means over several runs."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from musicemo.evaluation import CLASSIFICATION, LEADING, METRICS, PAIRS, SHORT_TITLES, TAGS, TITLES
from musicemo.reporting.blocks import Block, Cell, Charts, Column, Number, Table, Text
from musicemo.reporting.charts import MUTED, Axis, Chart, Intervals, Line, Points, Rule, categories, spanning
from musicemo.reporting.words import SETS, number, plural

#: Tags that are listed by name.
_LISTED = 5

__all__ = [
    "class_tables",
    "forest",
    "forests",
    "leading",
    "mean",
    "measured",
    "metric_columns",
    "metric_tables",
    "rows_aspect",
    "spread_blocks",
    "tag_tables",
    "units",
]


def leading(kind: str) -> str:
    """Return the leading metric of a kind of task."""
    return METRICS[kind][0]


def measured(
    metric: Mapping[str, Any] | None, *, strong: bool = False, deviation: float | None = None
) -> Number:
    """Return a metric of `results.json` with its interval, and its deviation over the songs if there is one."""
    metric = metric or {}
    return Number(metric.get("value"), metric.get("low"), metric.get("high"), deviation, strong=strong)


def mean(values: Sequence[float | None]) -> Number:
    """Return the mean of the values that are defined, with their standard deviation if there are several."""
    defined = [value for value in values if value is not None]
    deviation = statistics.stdev(defined) if len(defined) > 1 else None
    return Number(statistics.mean(defined) if defined else None, deviation=deviation)


def metric_columns(names: Sequence[str]) -> list[Column]:
    """Return a column for each metric. A terminal has room for one interval: the leading metric's."""
    return [Column(TITLES[name], SHORT_TITLES[name], brief=name not in LEADING) for name in names]


def metric_tables(metrics: Mapping[str, Mapping[str, Any]], title: str = "") -> Iterator[Table]:
    """Yield a table for each kind of task: every metric with its interval."""
    for names in METRICS.values():
        rows: list[list[Cell]] = [
            [
                task,
                *(
                    measured(
                        scores.get(name),
                        strong=name == names[0],
                        deviation=(scores.get("deviations") or {}).get(name),
                    )
                    for name in names
                ),
                *([Number(scores.get("agreement"))] if names == PAIRS else []),
                str(scores.get("tracks", "")),
            ]
            for task, scores in metrics.items()
            if names[0] in scores
        ]
        if rows:
            spread = any(scores.get("deviations") for scores in metrics.values() if names[0] in scores)
            note = "± is the standard deviation over the tracks." if spread else ""
            agreement = [Column("agreement of the listeners", "agreement")] if names == PAIRS else []
            yield Table(["task", *metric_columns(names), *agreement, units(names)], rows, title, note)


def units(names: Sequence[str]) -> str:
    """Return what the metrics of a kind of task are computed on."""
    return "pairs" if names == PAIRS else "tracks"


def class_tables(metrics: Mapping[str, Mapping[str, Any]]) -> Iterator[Table]:
    """Yield the scores of each class of every classification."""
    for task, scores in metrics.items():
        if classes := scores.get("per_class"):
            rows: list[list[Cell]] = [
                [
                    name,
                    *(Number(of_class[key]) for key in ("precision", "recall", "f1")),
                    str(of_class["support"]),
                ]
                for name, of_class in classes.items()
            ]
            yield Table(["class", "precision", "recall", "F1", "support"], rows, f"Classes of {task}")


def tag_tables(metrics: Mapping[str, Mapping[str, Any]]) -> Iterator[Table]:
    """Yield the scores of each tag, those with the most tracks first."""
    for task, scores in metrics.items():
        if tags := scores.get("per_tag"):
            ordered = sorted(tags.items(), key=lambda item: -item[1]["support"])
            rows: list[list[Cell]] = [
                [
                    name,
                    *(Number(of_tag.get(key)) for key in ("pr_auc", "roc_auc", "precision", "recall", "f1")),
                    str(of_tag["support"]),
                    str(of_tag["tracks"]),
                ]
                for name, of_tag in ordered
            ]
            columns = [
                "tag",
                TITLES["pr_auc"],
                TITLES["roc_auc"],
                "precision",
                "recall",
                "F1",
                "support",
                "tracks",
            ]
            yield Table(columns, rows, f"Tags of {task}", _left_out(scores.get("left_out") or []))


def _left_out(tags: Sequence[str]) -> str:
    text = (
        "Support is the number of tracks that have the tag, of those for which this is known. Precision, recall and F1 "
        "use the thresholds of the run, which its validation set chose; 0.5 without one."
    )
    if not tags:
        return text
    shown = ", ".join(tags[:_LISTED]) + (f" and {len(tags) - _LISTED} more" if len(tags) > _LISTED else "")
    return f"{text} The means leave out {plural(len(tags), 'tag')} that all tracks of the set have, or none: {shown}."


def spread_blocks(name: str, part: str, runs: Sequence[Mapping[str, Mapping[str, Any]]]) -> Iterator[Block]:
    """Yield every metric's mean and standard deviation over some runs.

    Args:
        name: The experiment's name.
        part: The set on which the runs were evaluated.
        runs: Each run's metrics: task -> metric -> ``value``.
    """
    yield Text(f": mean ± standard deviation over {plural(len(runs), 'run')}, {SETS[part]}", lead=name)
    for names in METRICS.values():
        rows: list[list[Cell]] = [
            [task, *(mean([run[task][name]["value"] for run in runs]) for name in names)]
            for task in runs[0]
            if names[0] in runs[0][task]
        ]
        if rows:
            yield Table(["task", *metric_columns(names)], rows, wrap=3)


def forest(
    rows: Mapping[str, Mapping[str, Any]],
    metric: str,
    each: Mapping[str, Sequence[float]] | None = None,
    *,
    title: str = "",
    notes: Sequence[str] = (),
    colours: Mapping[str, int] | None = None,
    chance: Mapping[str, float] | None = None,
) -> Chart:
    """Return values with their intervals, a row for each name.

    Args:
        rows: name -> metric -> ``value``, ``low`` and ``high``.
        metric: The metric to show.
        each: name -> the values of which it is the mean.
        title: Title of the chart; by default the metric.
        notes: Small text behind the title.
        colours: name -> number of its colour.
        chance: name -> value of predictions that do not depend on the track, which is marked.
    """
    levels = [(chance or {}).get(name) for name in rows]
    dots = [(one, place) for place, name in enumerate(rows) for one in (each or {}).get(name, ())]
    scores = [rows[name].get(metric) or {} for name in rows]
    value, low, high = ([one.get(end) for one in scores] for end in ("value", "low", "high"))
    ends = [end for end in [*value, *low, *high, *(one for one, _ in dots)] if end is not None]
    is_share = metric in (*CLASSIFICATION, *TAGS, *PAIRS)
    least = min([0.0, *ends])
    axis = Axis(0, 1, TITLES[metric]) if is_share else spanning([least, 1.0, *ends], TITLES[metric], high=1)
    if not is_share:  # with room for a dot at 0
        start = min(axis.low, 0.0) if least < 0 else -0.04 * axis.high if min(ends, default=1.0) < 0.04 else 0.0
        axis = Axis(start, axis.high, axis.label)
    count = len(rows)
    return Chart(
        title=title or TITLES[metric],
        x=axis,
        y=categories(list(rows)),
        marks=[
            *([Rule(0)] if axis.low < 0 else []),
            *(
                Line([level, level], [place - 0.4, place + 0.4], "chance", dashed=True, colour=MUTED)
                for place, level in enumerate(levels)
                if level and math.isfinite(level)
            ),
            *([Points([one for one, _ in dots], [y + 0.27 for _, y in dots], colour=MUTED)] if dots else []),
            *(
                Intervals(
                    [place], [value[place]], [low[place]], [high[place]], colour=(colours or {}).get(name, 0)
                )
                for place, name in enumerate(rows)
            ),
        ],
        aspect=rows_aspect(count),
        downwards=True,
        description=f"{title} {TITLES[metric]} with its interval: ".lstrip()
        + "; ".join(f"{name} {number(one)}" for name, one in zip(rows, value, strict=True) if one is not None),
        name=f"{title or metric}-intervals",
        notes=notes,
    )


def rows_aspect(count: int) -> float:
    """Return the height over the width of a chart of so many rows."""
    return min(1.6, 0.14 + 0.085 * count)


def forests(metrics: Mapping[str, Mapping[str, Any]], chance: Mapping[str, float]) -> Charts:
    """Return a forest plot for the leading metric of each kind of task; see `forest` for `chance`."""
    charts = []
    for names in METRICS.values():
        rows = {task: scores for task, scores in metrics.items() if names[0] in scores}
        if rows:
            charts.append(forest(rows, names[0], chance=chance))
    return Charts(charts)
