"""Comparison of experiments: means over seeds, differences, paired tests, relative improvement."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from os import PathLike

import numpy as np

from musicemo.comparison.replicates import Replicates, read_experiments
from musicemo.comparison.results import Comparison, Difference, Improvement, Ranking, Row
from musicemo.comparison.sampling import Key, Sampling, same_targets
from musicemo.comparison.statistics import holm
from musicemo.errors import InputError, nearest
from musicemo.evaluation import LEADING, EvaluationSettings, higher_is_better

__all__ = ["compare"]


def compare(
    experiments: Sequence[Replicates | str | PathLike[str]],
    *,
    part: str = "test",
    baselines: Sequence[str] = (),
    metrics: Iterable[str] = (),
    settings: EvaluationSettings | None = None,
    allow_different: bool = False,
) -> Comparison:
    """Compare experiments on the tasks that they share.

    A task's baseline is the first experiment that has the task, so several single-task experiments that are
    listed before a multitask experiment are together its baselines. `docs/evaluation.md` explains the
    computation. The variance of a mean over seeds is that of a bootstrap of the tracks, with the same draws for
    both experiments of a pair, plus that of the seeds. Intervals and tests are Student's, with Welch and
    Satterthwaite's degrees of freedom. Holm's correction is applied to the tests of the leading metrics, and to
    those of every other metric.

    Args:
        experiments: run directories or folders of experiments, each ``PATH`` or ``NAME=PATH``; or the results of
            `read_experiments` and `read_replicates`. Their names must differ.
        part: the set to compare on, for paths: ``train``, ``val`` or ``test``.
        baselines: names of the experiments that may be baselines; by default all.
        metrics: metrics in addition to the leading one of each task; those that a task does not have are ignored.
        settings: resamples and confidence.
        allow_different: whether to compare experiments with different test tracks; these are not paired.

    Raises:
        InputError: the test tracks or targets differ, or a name is unknown or not unique.
    """
    settings = settings or EvaluationSettings()
    experiments = read_experiments(experiments, part)
    by_name = _by_name(experiments)
    for name in baselines:
        if name not in by_name:
            raise InputError(
                f"{name}: no experiment of this name is compared{nearest(name, by_name)} (experiments: "
                f"{', '.join(by_name)})"
            )
    if not allow_different:
        _check_parts(experiments)
    sampling = Sampling(by_name, settings)
    candidates = [name for name in by_name if not baselines or name in baselines]
    wanted = set(metrics)
    rows = []
    for task in dict.fromkeys(task for experiment in experiments for task in experiment.tasks):
        having = [name for name in by_name if task in by_name[name].tasks]
        baseline = next((name for name in candidates if name in having), "")
        for place, metric in enumerate(by_name[having[0]].tasks[task].names):
            if place == 0 or metric in wanted:
                rows.append(_row(sampling, task, [task], metric, having, baseline))
    averages = list(_averages(sampling, experiments, candidates))
    leading = [row for row in rows if row.metric in LEADING]
    families = [leading, averages]
    families += [[row for row in rows if row.metric == name] for name in wanted - set(LEADING)]
    corrected = _corrected(families)
    improvements = [improvement for name in by_name if (improvement := _improvement(sampling, name, leading))]
    return Comparison(
        experiments[0].part,
        settings,
        experiments,
        [corrected[row.task, row.metric] for row in rows],
        [corrected[row.task, row.metric] for row in averages],
        improvements,
        list(_rankings(sampling, experiments)) if len(experiments) > 2 else [],
        [
            (one.name, other.name)
            for one, other in itertools.combinations(experiments, 2)
            if _same_predictions(one, other)
        ],
    )


def _by_name(experiments: Sequence[Replicates]) -> dict[str, Replicates]:
    by_name: dict[str, Replicates] = {}
    for one in experiments:
        if one.name in by_name:
            raise InputError(f"two experiments are called {one.name!r}; give one of them another name")
        by_name[one.name] = one
    return by_name


def _check_parts(experiments: Sequence[Replicates]) -> None:
    """Raise an error if a task was tested on other tracks or targets than in the first experiment with the task.

    Tracks without a label for the task are ignored, because they do not affect its metrics.
    """
    problems: dict[tuple[str, str], str] = {}
    for task in dict.fromkeys(task for one in experiments for task in one.tasks):
        first, *others = (one for one in experiments if task in one.tasks)
        for other in others:
            pair = first.name, other.name
            if first.tested(task) != other.tested(task):
                tested = [_tested(one, task) for one in (first, other)]
                problems.setdefault(
                    pair,
                    f"{first.name} and {other.name}: their {first.part} parts differ in the tracks of {task!r} "
                    f"({tested[0]}; {tested[1]}), so that their metrics cannot be compared; split alike, or allow "
                    "different tests",
                )
            elif not same_targets(first.tasks[task], other.tasks[task]):
                problems.setdefault(
                    pair,
                    f"{first.name} and {other.name}: the targets of {task!r} differ, so that their metrics cannot be "
                    "compared",
                )
    if problems:
        raise InputError(*problems.values())


def _tested(one: Replicates, task: str) -> str:
    folds = f" in {len(one.hashes)} folds" if len(one.hashes) > 1 else ""
    return f"{len(one.tasks[task].ids)} tracks{folds}, hash {one.tested(task)[0][:12]}"


def _common(experiments: Sequence[Replicates], metric: str) -> list[str]:
    """Return the tasks with a leading metric that all experiments have."""
    return [
        name
        for name, task in experiments[0].tasks.items()
        if task.names[0] == metric and all(name in other.tasks for other in experiments)
    ]


def _rankings(sampling: Sampling, experiments: Sequence[Replicates]) -> Iterator[Ranking]:
    for metric in LEADING:
        tasks = _common(experiments, metric)
        if not tasks:
            continue
        share = 1 / len(tasks)
        means = {
            one.name: float(np.mean([sampling.mean(one.name, task, metric) for task in tasks]))
            for one in experiments
        }
        sign = 1 if higher_is_better(metric) else -1
        order = sorted(means, key=lambda name: -sign * means[name] if np.isfinite(means[name]) else np.inf)
        pairs = {}
        for better, worse in itertools.combinations(order, 2):
            weights = {
                (name, task, metric): side
                for task in tasks
                for name, side in ((better, share), (worse, -share))
            }
            one = sampling.estimate(weights)
            paired = all(sampling.paired(better, worse, task) for task in tasks)
            pairs[better, worse] = Difference(worse, one.value, one.low, one.high, one.p, np.nan, paired)
        corrected = holm([difference.p for difference in pairs.values()])
        yield Ranking(
            metric,
            tasks,
            {name: means[name] for name in order},
            {
                pair: replace(difference, corrected=p)
                for (pair, difference), p in zip(pairs.items(), corrected, strict=True)
            },
        )


def _same_predictions(one: Replicates, other: Replicates) -> bool:
    shared = set(one.tasks) & set(other.tasks)
    if not shared or one.seeds != other.seeds:
        return False
    return all(
        np.array_equal(first.evaluation.tasks[task].prediction, second.evaluation.tasks[task].prediction)
        for first, second in zip(one.per_seed, other.per_seed, strict=True)
        for task in shared
    )


def _row(
    sampling: Sampling, task: str, tasks: Sequence[str], metric: str, having: Sequence[str], baseline: str
) -> Row:
    scores = []
    share = 1 / len(tasks)
    for name in having:
        score = sampling.score(name, tasks, metric)
        if baseline and name != baseline:
            weights = {(name, one, metric): share for one in tasks}
            estimate = sampling.estimate({**weights, **{(baseline, one, metric): -share for one in tasks}})
            paired = all(sampling.paired(name, baseline, one) for one in tasks)
            difference = Difference(
                baseline, estimate.value, estimate.low, estimate.high, estimate.p, np.nan, paired
            )
            score = replace(score, difference=difference)
        scores.append(score)
    return Row(task, tasks, metric, baseline if len(having) > 1 else "", scores)


def _averages(sampling: Sampling, experiments: Sequence[Replicates], baselines: Sequence[str]) -> Iterator[Row]:
    for metric in LEADING:
        tasks = _common(experiments, metric)
        if len(tasks) > 1:
            yield _row(sampling, "", tasks, metric, [one.name for one in experiments], baselines[0])


def _corrected(families: Sequence[Sequence[Row]]) -> dict[tuple[str, str], Row]:
    """Return every row, by task and metric, with Holm's correction within its family."""
    rows_by_metric: dict[tuple[str, str], Row] = {}
    for family in families:
        tested = [score.difference for row in family for score in row.scores if score.difference]
        corrected = iter(holm([difference.p for difference in tested]))
        for row in family:
            scores = [
                replace(score, difference=replace(score.difference, corrected=next(corrected)))
                if score.difference
                else score
                for score in row.scores
            ]
            rows_by_metric[row.task, row.metric] = replace(row, scores=scores)
    return rows_by_metric


def _improvement(sampling: Sampling, name: str, rows: Sequence[Row]) -> Improvement | None:
    """Return an experiment's relative improvement; its interval is the delta method's."""
    compared = [
        row
        for row in rows
        if row.baseline not in ("", name) and name in [score.experiment for score in row.scores]
    ]
    if len(compared) < 2:
        return None
    mean = sampling.mean
    kept = [row for row in compared if sampling.above_chance(row)]
    left_out = [row.task for row in compared if row not in kept]
    if not kept:
        return Improvement(name, [], np.nan, np.nan, np.nan, left_out)
    value = 0.0
    gradient: dict[Key, float] = {}
    for row in kept:
        mean_score, base = (mean(one, row.task, row.metric) for one in (name, row.baseline))
        share = (1 if row.higher_is_better else -1) / base / len(kept)
        value += share * (mean_score - base)
        gradient[name, row.task, row.metric] = share
        gradient[row.baseline, row.task, row.metric] = -share * mean_score / base
    estimate = sampling.estimate(gradient, value)
    return Improvement(name, [row.task for row in kept], value, estimate.low, estimate.high, left_out)
