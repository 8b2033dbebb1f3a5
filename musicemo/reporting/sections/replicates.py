"""What several seeds and folds of one experiment came to together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from musicemo.comparison import Replicates, Row, analyse_replicates, compare, read_replicates
from musicemo.errors import InputError
from musicemo.evaluation import (
    CLASSIFICATION,
    REGRESSION,
    TITLES,
    Evaluation,
    EvaluationSettings,
    TaskEvaluation,
    finite,
)
from musicemo.reporting.blocks import Block, Cell, Charts, Notice, Section, Table, Tables, Text
from musicemo.reporting.sections import scores
from musicemo.reporting.sections.analyses import analysis_sections
from musicemo.reporting.words import PARTS, interval, number, plural
from musicemo.runs import RunRecord

__all__ = ["replicate_sections"]


def replicate_sections(runs: Sequence[RunRecord], part: str, notices: list[Notice]) -> list[Section]:
    """Return the sections on the results of finished replicates.

    Args:
        runs: the finished runs.
        part: of the tracks.
        notices: where to say why there is nothing to say.
    """
    try:
        settings = runs[0].evaluation_settings
        found = read_replicates(runs, part)
        rows = compare([found], metrics=(*REGRESSION, *CLASSIFICATION), settings=settings).rows
    except InputError as error:
        notices.append(Notice(f"The runs cannot be taken together: {error}", "warning"))
        return [Section("Results", [_each_run(runs, part)])]
    blocks: list[Block] = [Text(_introduction(found, part, settings)), _forests(rows), *_tables(rows)]
    sections = [Section("Results", [*blocks, _each_run(runs, part)])]
    several = len(found.replicates) > 1
    combined = _combined(found)
    if charts := scores.predictions(combined, "regression", {}, runs[0].tasks):
        mean = f" Predictions are means over {len(found.replicates)} seeds." if several else ""
        sections.append(Section("Predicted against true", [Charts(charts, note=scores.DOTS + mean)]))
    pooled = _pooled(found)
    if charts := scores.predictions(pooled, "classification", {}, runs[0].tasks):
        counted = f" Every track is counted once a seed, {len(found.replicates)} times." if several else ""
        metrics = {name: task.metrics() for name, task in pooled.tasks.items() if task.kind == "classification"}
        tables = list(scores.classes(metrics))
        sections.append(Section("Classes", [Charts(charts, note=scores.CONFUSION + counted), Tables(tables)]))
    analyses = analysis_sections(analyse_replicates(found, rows, settings), part)
    return [*sections, scores.worst_tracks(combined), *analyses]


def _introduction(found: Replicates, part: str, settings: EvaluationSettings) -> str:
    tracks = max((len(task.ids) for task in found.tasks.values()), default=0)
    seeds = len(found.replicates)
    what = f"{PARTS[part]} part, {plural(tracks, 'track')}"
    if found.folds:
        what = f"{PARTS[part]} parts of {plural(len(found.folds), 'fold')} together, {plural(tracks, 'track')}"
    if seeds == 1:
        return f"The {what}; in brackets, {settings.confidence:.0%} intervals for other tracks. One seed: {_ONE_SEED}"
    return (
        f"Means and standard deviations over {seeds} seeds on the {what}; in brackets, {settings.confidence:.0%} "
        "intervals for other tracks and other seeds."
    )


_ONE_SEED = "nothing is said of what another one would change."


def _forests(rows: Sequence[Row]) -> Charts:
    charts = []
    for metric in (REGRESSION[0], CLASSIFICATION[0]):
        values: dict[str, dict[str, Any]] = {}
        each: dict[str, Sequence[float]] = {}
        for row in rows:
            if row.metric == metric:
                (score,) = row.scores
                ends = {"value": score.mean, "low": score.low, "high": score.high}
                values[row.task] = {metric: {name: finite(end) for name, end in ends.items()}}
                each[row.task] = score.values if len(score.values) > 1 else score.folds
        if values:
            charts.append(scores.forest(values, metric, each))
    return Charts(charts)


def _tables(rows: Sequence[Row]) -> list[Table]:
    tables = []
    for names in (REGRESSION, CLASSIFICATION):
        by_task: dict[str, dict[str, Row]] = {}
        for row in rows:
            if row.metric in names:
                by_task.setdefault(row.task, {})[row.metric] = row
        if by_task:
            lines: list[list[str | Cell]] = [
                [
                    task,
                    *(_cell(found.get(name), strong=name == names[0]) for name in names),
                    str(found[names[0]].scores[0].tracks),
                ]
                for task, found in by_task.items()
            ]
            tables.append(Table(["task", *(TITLES[name] for name in names), "tracks"], lines))
    return tables


def _cell(row: Row | None, *, strong: bool) -> Cell:
    if row is None:
        return Cell("")
    (score,) = row.scores
    deviation = f" ± {number(score.deviation)}" if len(score.values) > 1 else ""
    return Cell(f"{number(score.mean)}{deviation}", interval(score.low, score.high), strong)


def _each_run(runs: Sequence[RunRecord], part: str) -> Table:
    """Return every run's leading metrics."""
    tasks = list(runs[0].tasks)
    folds = any(run.results.get("fold") is not None for run in runs)
    rows: list[list[str | Cell]] = []
    for run in runs:
        label = f"seed {run.results.get('seed')}" + (f", fold {run.results.get('fold')}" if folds else "")
        found = run.metrics.get(part) or {}
        cells = [_leading(found.get(task) or {}, run.tasks.get(task) or {}) for task in tasks]
        rows.append([label, *cells, str(run.results.get("best_epoch", ""))])
    title = "Each run's leading metrics"
    return Table(["run", *tasks, "best epoch"], rows, title)


def _leading(metrics: Mapping[str, Any], task: Mapping[str, Any]) -> str:
    found = metrics.get(scores.leading(str(task.get("kind", "regression")))) or {}
    return number(found.get("value"))


def _combined(found: Replicates) -> Evaluation:
    """Return one prediction a track: the mean over the seeds of a rating, the commonest of the classes."""
    tasks = {}
    for name, first in found.tasks.items():
        every = np.stack([one.evaluation.tasks[name].prediction for one in found.replicates])
        if first.kind == "regression":
            prediction = every.mean(axis=0)
        else:
            votes = (every[..., None] == np.arange(len(first.classes))).sum(axis=0)
            prediction = votes.argmax(axis=-1)
        tasks[name] = replace(first, prediction=prediction)
    return Evaluation(tasks)


def _pooled(found: Replicates) -> Evaluation:
    """Return every seed's predictions, one after another."""
    tasks = {}
    for name, first in found.tasks.items():
        every = [one.evaluation.tasks[name] for one in found.replicates]
        tasks[name] = TaskEvaluation(
            first.kind,
            [track for one in every for track in one.ids],
            np.concatenate([one.target for one in every]),
            np.concatenate([one.prediction for one in every]),
            first.classes,
        )
    return Evaluation(tasks)
