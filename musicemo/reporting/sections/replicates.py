"""Results of several seeds and folds of one experiment, combined."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from musicemo.comparison import Replicates, Row, Score, analyse_replicates, compare, read_replicates
from musicemo.errors import InputError
from musicemo.evaluation import (
    LEADING,
    METRICS,
    SCORES,
    SHORT_TITLES,
    TITLES,
    Evaluation,
    EvaluationSettings,
    TaskEvaluation,
    finite,
)
from musicemo.reporting.blocks import (
    Block,
    Cell,
    Charts,
    Column,
    Interval,
    Notice,
    Number,
    Section,
    Table,
    Tables,
    Text,
)
from musicemo.reporting.sections import scores, tracks
from musicemo.reporting.sections.analyses import analysis_sections
from musicemo.reporting.sections.plane import plane_section
from musicemo.reporting.sections.summary import chances, summary
from musicemo.reporting.words import SETS, listed, plural
from musicemo.runs import RunRecord

__all__ = ["constant_notes", "metric_row", "replicate_blocks", "replicate_sections", "score_number", "set_of"]


def replicate_blocks(experiment: Replicates, settings: EvaluationSettings) -> list[Block]:
    """Return the results of an experiment's finished replicates as tables."""
    rows = _rows(experiment, settings)
    analyses = analysis_sections(analyse_replicates(experiment, rows, settings), experiment.part)
    return [
        Text(f": {_described(experiment)}", lead=experiment.name),
        *_tables(experiment, rows),
        *map(Text, constant_notes([experiment])),
        *(block for section in analyses for block in section.blocks),
    ]


def replicate_sections(runs: Sequence[RunRecord], part: str, notices: list[Notice]) -> list[Section]:
    """Return the sections on the results of finished replicates.

    Args:
        runs: The finished runs.
        part: ``train``, ``val`` or ``test``.
        notices: The page's notices, to which the reason is added if the runs cannot be combined.
    """
    try:
        settings = runs[0].evaluation_settings
        experiment = read_replicates(runs, part)
        rows = _rows(experiment, settings)
    except InputError as error:
        notices.append(Notice(f"The runs cannot be combined: {error}", "warning"))
        return [Section("Results", [_each_run(runs, part)])]
    analysed = analyse_replicates(experiment, rows, settings)
    first, values = experiment.per_seed[0].evaluation, _metrics(rows)
    blocks: list[Block] = [
        *summary(values, first, analysed, part),
        *map(Text, constant_notes([experiment])),
        Text(_introduction(experiment, settings)),
        _forests(rows, values, chances(first)),
        *_tables(experiment, rows),
    ]
    sections = [Section("Results", [*blocks, _each_run(runs, part)])]
    count = count_of(experiment)
    several = len(experiment.per_seed) > 1
    combined = _combined(experiment)
    if charts := tracks.prediction_charts(combined, "regression", {}, runs[0].tasks):
        mean = f" Predictions are means over {count}." if several else ""
        sections.append(Section("Predicted against true", [Charts(charts, note=tracks.DOTS + mean)]))
    mean = f" Predictions are means over {len(experiment.per_seed)} seeds." if several else ""
    sections.append(tracks.series_section(combined, runs[0].tasks, {}, part, mean))
    sections.append(plane_section(combined, runs[0].tasks))
    pooled = _pooled(experiment)
    if charts := tracks.prediction_charts(pooled, "classification", {}, runs[0].tasks):
        counted = f" Each track is counted {len(experiment.per_seed)} times, over {count}." if several else ""
        metrics = {name: task.metrics() for name, task in pooled.tasks.items() if task.kind == "classification"}
        tables = list(scores.class_tables(metrics))
        sections.append(Section("Classes", [Charts(charts, note=tracks.CONFUSION + counted), Tables(tables)]))
    if charts := tracks.prediction_charts(combined, "tags", {}, runs[0].tasks):
        mean = f"Of the mean probability over {count}. " if several else ""
        metrics = {name: task.metrics() for name, task in combined.tasks.items() if task.kind == "tags"}
        tables = list(scores.tag_tables(metrics))
        sections.append(Section("Tags", [Charts(charts, note=mean + tracks.TAG_CHART), Tables(tables)]))
    if charts := tracks.prediction_charts(combined, "pairs", {}, runs[0].tasks):
        mean = f" Scores are means over {len(experiment.per_seed)} seeds." if several else ""
        sections.append(Section("Pairs", [Charts(charts, note=tracks.PAIR_CHART + mean)]))
    analyses = analysis_sections(analysed, part)
    about = [
        tracks.worst_tracks(combined),
        tracks.other_tracks(combined),
        tracks.label_section({part: first}, runs[0].tasks),
    ]
    return [*sections, *about, *analyses]


def _rows(experiment: Replicates, settings: EvaluationSettings) -> list[Row]:
    """Return every metric of every task, and the leading ones' means over the tasks."""
    comparison = compare([experiment], metrics=SCORES, settings=settings)
    return [*comparison.rows, *comparison.averages]


def metric_row(experiment: Replicates, task: str, metric: str, settings: EvaluationSettings) -> Row:
    """Return one metric of one task."""
    rows = compare([experiment], metrics=[metric], settings=settings).rows
    return next(row for row in rows if (row.task, row.metric) == (task, metric))


def set_of(experiment: Replicates) -> str:
    """Return the set on which an experiment is evaluated, with its size: ``test set, 48 tracks``."""
    count = max((len(task.ids) for task in experiment.tasks.values()), default=0)
    folds = f"{plural(len(experiment.folds), 'fold')} combined, " if experiment.folds else ""
    noun = "pair" if all(task.kind == "pairs" for task in experiment.tasks.values()) else "track"
    return f"{folds}{SETS[experiment.part]}, {plural(count, noun)}"


def count_of(experiment: Replicates) -> str:
    """Return the number of replicates in words: ``seed 0``, ``3 seeds``, ``2 seeds and 5 repeats of k-fold``."""
    seeds = list(dict.fromkeys(experiment.seeds))
    text = plural(len(seeds), "seed") if len(seeds) > 1 else f"seed {seeds[0]}"
    if experiment.repeats == 1:
        return text
    repeats = f"{experiment.repeats} repeats of k-fold"
    return f"{text} and {repeats}" if len(seeds) > 1 else repeats


def _described(experiment: Replicates) -> str:
    count = count_of(experiment)
    over = f"mean ± standard deviation over {count}" if len(experiment.seeds) > 1 else count
    return f"{over}, {set_of(experiment)}"


def _introduction(experiment: Replicates, settings: EvaluationSettings) -> str:
    text = _described(experiment)
    confidence = f"{settings.confidence:.0%}".replace("%", " %")
    if len(experiment.seeds) > 1:
        return f"{text[0].upper()}{text[1:]}. Brackets show {confidence} intervals over tracks and seeds."
    text = f"{text[0].upper()}{text[1:]}. Brackets show {confidence} intervals over tracks."
    if not experiment.records[0].fitted:
        text += " With one seed, the variation between seeds is unknown."
    return text


def constant_notes(experiments: Sequence[Replicates]) -> list[str]:
    """Return a sentence on the scores of experiments that predict one value for all tracks of a fold."""
    constant = {
        one.name: [task for name, task in one.tasks.items() if one.constant(name)] for one in experiments
    }
    names = [name for name, tasks in constant.items() if tasks]
    if not names:
        return []
    every = [task for tasks in constant.values() for task in tasks]
    verb = "predict" if len(names) > 1 else "predicts"
    sentences = [f"{listed(names)} {verb} one value for all tracks of a fold, learned from the other folds."]
    if any(task.kind == "regression" for task in every):
        sentences.append(
            "A fold with high ratings leaves low ones for training, so these values correlate negatively with the "
            "ratings by construction. Therefore the mean of the values is scored, whose correlation is 0."
        )
    if any(task.kind == "classification" and task.metric("accuracy") < task.chance for task in every):
        sentences.append(
            "If the classes are balanced, the most frequent class of the training set is rare in the fold. Therefore "
            "the accuracy is below the share of the most frequent class, also by construction."
        )
    return [" ".join(sentences)]


def _metrics(rows: Sequence[Row]) -> dict[str, dict[str, Any]]:
    """Return task -> metric -> ``value``, ``low`` and ``high``."""
    metrics: dict[str, dict[str, Any]] = {}
    for row in rows:
        if row.task:
            (score,) = row.scores
            ends = {"value": score.mean, "low": score.low, "high": score.high}
            metrics.setdefault(row.task, {})[row.metric] = {name: finite(end) for name, end in ends.items()}
    return metrics


def _forests(
    rows: Sequence[Row], metrics: Mapping[str, Mapping[str, Any]], chance: Mapping[str, float]
) -> Charts:
    charts = []
    for metric in LEADING:
        values = {task: one for task, one in metrics.items() if metric in one}
        single = {row.task: row.scores[0] for row in rows if row.metric == metric and row.task}
        each = {task: one.values if len(one.values) > 1 else one.folds for task, one in single.items()}
        if values:
            charts.append(scores.forest(values, metric, each, chance=chance))
    return Charts(charts)


def score_number(score: Score, *, strong: bool = False) -> Number:
    """Return a mean over seeds with its interval, and its deviation if there are several seeds."""
    deviation = score.deviation if len(score.values) > 1 else None
    return Number(score.mean, score.low, score.high, deviation, strong=strong)


def _tables(experiment: Replicates, rows: Sequence[Row]) -> Iterator[Table]:
    """Yield the leading metrics with every kind of interval, then the other metrics."""
    for metric in LEADING:
        some = [row for row in rows if row.metric == metric]
        if some:
            yield _leading(experiment, metric, some)
    by_place = {(row.task, row.metric): row.scores[0] for row in rows}
    for names in METRICS.values():
        tasks = dict.fromkeys(row.task for row in rows if row.metric == names[0] and row.task)
        lines: list[list[Cell]] = [
            [
                task,
                *(score_number(by_place[task, name]) for name in names[1:]),
                str(by_place[task, names[0]].tracks),
            ]
            for task in tasks
        ]
        if lines:
            yield Table(
                ["task", *scores.metric_columns(names[1:]), scores.units(names)], lines, "Other metrics", wrap=3
            )


def _leading(experiment: Replicates, metric: str, rows: Sequence[Row]) -> Table:
    seeds, folds = len(experiment.seeds) > 1, len(experiment.folds) > 1
    columns: list[str | Column] = ["task", Column(TITLES[metric], SHORT_TITLES[metric])]
    columns += ["for other seeds", "other seeds and tracks"] if seeds else ["for other tracks"]
    columns += ["fold by fold"] if folds else []
    lines: list[list[Cell]] = []
    for row in rows:
        (score,) = row.scores
        cells: list[Cell] = [
            row.task or f"mean of {len(row.tasks)}",
            replace(score_number(score, strong=True), low=None, high=None),
        ]
        if seeds:
            cells.append(Interval(score.seeds_low, score.seeds_high))
        cells.append(Interval(score.low, score.high))
        if folds:
            every = [finite(fold) for fold in score.folds]
            cells.append(Number(None) if None in every else scores.mean(every))
        lines.append(cells)
    return Table(columns, lines)


def _each_run(runs: Sequence[RunRecord], part: str) -> Table:
    """Return every run's leading metrics, with a column for each task or for each run, whichever are fewer."""
    tasks = list(runs[0].tasks)
    folds = any(run.results.get("fold") is not None for run in runs)
    fitted = all(run.fitted for run in runs)
    rows: list[list[Cell]] = []
    for run in runs:
        label = f"seed {run.results.get('seed')}" + (f", fold {run.results.get('fold')}" if folds else "")
        metrics = run.metrics.get(part) or {}
        cells = [_leading_metric(metrics.get(task) or {}, run.tasks.get(task) or {}) for task in tasks]
        rows.append([label, *cells, *([] if fitted else [str(run.results.get("best_epoch", ""))])])
    columns = ["run", *tasks, *([] if fitted else ["best epoch"])]
    if len(tasks) > len(runs):
        columns, *rows = map(list, zip(columns, *rows, strict=True))
    return Table(columns, rows, "Each run's leading metrics")


def _leading_metric(metrics: Mapping[str, Any], task: Mapping[str, Any]) -> Number:
    return Number((metrics.get(scores.leading(task.get("kind", "regression"))) or {}).get("value"))


def _combined(experiment: Replicates) -> Evaluation:
    """Return one prediction per track: the mean ratings or probabilities over the seeds, or the most frequent class."""
    tasks = {}
    for name, first in experiment.tasks.items():
        every = np.stack([one.evaluation.tasks[name].prediction for one in experiment.per_seed])
        if first.kind == "tags":
            tasks[name] = _combined_tags([one.evaluation.tasks[name] for one in experiment.per_seed])
            continue
        if first.kind in ("regression", "pairs", "series"):
            prediction = every.mean(axis=0)
        else:
            votes = (every[..., None] == np.arange(len(first.classes))).sum(axis=0)
            prediction = votes.argmax(axis=-1)
        tasks[name] = replace(first, prediction=prediction, spread=None)
    return Evaluation(tasks)


def _combined_tags(every: Sequence[TaskEvaluation]) -> TaskEvaluation:
    """Return the mean probability of each tag over the seeds; a tag is predicted if most seeds predict it."""
    mean = np.mean([one.probabilities for one in every if one.probabilities is not None], axis=0)
    votes = np.mean([one.prediction for one in every], axis=0)
    return replace(every[0], probabilities=mean, prediction=votes > 0.5)


def _pooled(experiment: Replicates) -> Evaluation:
    """Return the predicted classes of all seeds, concatenated."""
    tasks = {}
    for name, first in experiment.tasks.items():
        if first.kind != "classification":
            continue
        every = [one.evaluation.tasks[name] for one in experiment.per_seed]
        tasks[name] = TaskEvaluation(
            first.kind,
            [track for one in every for track in one.ids],
            np.concatenate([one.target for one in every]),
            np.concatenate([one.prediction for one in every]),
            first.classes,
        )
    return Evaluation(tasks)
