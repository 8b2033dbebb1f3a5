"""Evaluation of a trained run, on its dataset or on other data."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from musicemo.components.local import told_by_line
from musicemo.contracts import Dataset, Target
from musicemo.data import (
    PARTS,
    Batches,
    Features,
    Joined,
    Split,
    Task,
    TaskSettings,
    Tracks,
    collect,
    rows_text,
)
from musicemo.errors import InputError
from musicemo.evaluation import Evaluation, EvaluationSettings
from musicemo.experiment import Component, Experiment, load_experiment
from musicemo.experiment.batches import make_batches
from musicemo.experiment.tracks import split_tracks
from musicemo.prediction.trained import UNNEEDED, TrainedRun
from musicemo.runs import RunRecord
from musicemo.training import TrainingSettings
from musicemo.training.scoring import collect_predictions, to_evaluation

__all__ = ["ALL", "RunEvaluation", "evaluate_on", "evaluate_run", "read_for"]

_log = logging.getLogger(__name__)

ALL = "all"
"""All labeled tracks, as a value of `part`."""

_CHANGEABLE = ("dataset", "evaluation", "split", "tasks", "training")
"""Tables whose keys may be overridden, as long as they do not change the network."""


_APART = 1e-3
"""Tolerance of the comparison with the recorded metrics, which differ slightly on other devices."""


class _Evaluated(Protocol):
    """A trained run, or an ensemble of them."""

    @property
    def directory(self) -> Path: ...

    @property
    def results(self) -> Mapping[str, Any]: ...

    @property
    def record(self) -> RunRecord: ...


@dataclass(frozen=True)
class RunEvaluation:
    """Evaluation of a run's network, or of an ensemble, on a set of a dataset."""

    run: _Evaluated
    dataset: str
    part: str
    #: Number of labeled tracks in the set.
    tracks: int
    evaluation: Evaluation
    settings: EvaluationSettings
    #: Whether the metrics have intervals; those of the run's training set have none.
    intervals: bool = True

    def metrics(self) -> dict[str, Any]:
        """Return ``task -> metric -> {value, low, high}``, as in `results.json`."""
        return self.evaluation.to_json(self.settings, intervals=self.intervals)


def evaluate_run(run: TrainedRun, *, overrides: Sequence[str] = (), part: str | None = None) -> RunEvaluation:
    """Evaluate a run's best checkpoint on a set of its dataset, or of another dataset.

    On the run's dataset the metrics are those of `results.json`, computed again. Overrides select another dataset. A
    task whose target it lacks, and labels of classes that the run does not have, are left out with a warning. A
    regression target with another range is predicted in that range.

    Args:
        run: the run.
        overrides: ``KEY=VALUE`` for the experiment's dataset, split, tasks (``target`` and ``classes``),
            evaluation and training (``batch_size``, ``precision``).
        part: ``train``, ``val``, ``test``, or ``all`` for every labeled track. By default ``all`` for another dataset,
            and the first of test, val and train for the run's dataset.

    Raises:
        InputError: an override would change the network, the data cannot be read or do not fit the run, the set is
            empty, or the dataset has changed since the run was trained.
    """
    for override in overrides:
        table = override.partition("=")[0].split(".")[0].strip()
        if table not in _CHANGEABLE:
            raise InputError(
                f"--set {override}: {table} of a trained run cannot be changed (tables: {', '.join(_CHANGEABLE)})"
            )
    if part not in (None, ALL, *PARTS):
        raise InputError(f"--part {part}: must be one of {', '.join((*PARTS, ALL))}")
    metrics = run.results.get("metrics", {})
    if run.results.get("overfit_batches"):
        raise InputError(
            f"{run.directory}: is an --overfit-batches check, not a trained run. Train it without this option first"
        )
    experiment = load_experiment(
        run.directory / "experiment.toml",
        overrides,
        local_code="kept" if run.trusted else "refuse",
        unneeded=UNNEEDED,
    )
    other = any(override.partition("=")[0].split(".")[0].strip() == "dataset" for override in overrides)
    tracks = read_for(run, experiment)
    _warn_of_ranges(run, tracks)
    ids = tracks.ids
    part = part or (ALL if other else next((name for name in reversed(PARTS) if name in metrics), ALL))
    split = None
    if part != ALL or not other:
        split = _split(experiment, tracks)
    same_split = split is not None and split.hashes == run.results.get("split")
    if not other and not same_split:
        raise InputError(
            f"{run.directory}: the split differs from that of the run, because the dataset has changed since"
            " (or --set changed the split). To evaluate other data, use --set dataset.KEY=VALUE"
        )
    features = Features(tracks.tracks, tracks.rows, experiment.training.cache)
    features.scale(run.scaling)
    if part == ALL or split is None:
        indices = np.arange(len(tracks))
        size = experiment.training.batch_size
        batches = Batches(features, tracks.targets, indices, size, bucket=True, series=tracks.series)
    else:
        every = make_batches(features, tracks, split, experiment.training, run.experiment.seeds[0])
        if part not in every:
            raise InputError(f"{run.directory}: the {part} set is empty")
        batches = every[part]
    if not same_split or part == ALL:
        _warn_of_overlap(run, experiment, [ids[index] for index in batches.indices])
    evaluation = _evaluate(run, tracks, batches, experiment.training.precision)
    if same_split and not any(
        override.partition("=")[0].split(".")[0].strip() != "evaluation" for override in overrides
    ):
        _compare_with_recorded(run, evaluation, metrics.get(part, {}), part)
    return RunEvaluation(
        run,
        experiment.dataset.name,
        part,
        len(batches.indices),
        evaluation,
        experiment.evaluation,
        intervals=not (same_split and part == "train"),
    )


def evaluate_on(
    run: TrainedRun, tracks: Tracks, ids: Collection[str], training: TrainingSettings
) -> Evaluation:
    """Evaluate a run's network on tracks of any dataset.

    Args:
        run: the run.
        tracks: the tracks of `read_for`.
        ids: the tracks to evaluate on.
        training: size of the batches, precision and cache.

    Raises:
        InputError: features cannot be read.
    """
    features = Features(tracks.tracks, tracks.rows, training.cache)
    features.scale(run.scaling)
    indices = np.flatnonzero([name in ids for name in tracks.ids])
    batches = Batches(features, tracks.targets, indices, training.batch_size, bucket=True, series=tracks.series)
    return _evaluate(run, tracks, batches, training.precision)


def _evaluate(run: TrainedRun, tracks: Tracks, batches: Batches, precision: str) -> Evaluation:
    predicted = collect_predictions(run.network, batches, tracks.tasks, run.device, precision)
    return to_evaluation(predicted, tracks).decided(run.thresholds)


def _compare_with_recorded(
    run: TrainedRun, evaluation: Evaluation, recorded: Mapping[str, Any], part: str
) -> None:
    """Warn if the metrics on the run's dataset differ from those that its training recorded."""
    differing = []
    for name, task in evaluation.tasks.items():
        for metric in task.names:
            value = task.metric(metric)
            before = recorded.get(name, {}).get(metric)
            before = before.get("value") if isinstance(before, Mapping) else None
            if isinstance(before, float) and not math.isclose(value, before, rel_tol=_APART, abs_tol=_APART):
                differing.append(f"{name} {metric} {value:.4g} (recorded: {before:.4g})")
    if differing:
        more = f" and {len(differing) - 3} more" if len(differing) > 3 else ""
        _log.warning(
            f"{run.directory}: the metrics of the {part} set differ from those in results.json: "
            f"{', '.join(differing[:3])}{more}; targets, features or the checkpoint have changed since training"
        )


def read_for(run: TrainedRun, experiment: Experiment) -> Tracks:
    """Read the tracks of an experiment's dataset, with targets for those of the run's tasks that both have.

    Ratings are in the range of this dataset, and classes are those of the run.

    Raises:
        InputError: the dataset cannot be read, has no target of the run's tasks, or the features differ.
    """
    dataset: Dataset = experiment.build_dataset()
    by_name = {target.name: target for target in dataset.targets}
    tasks = []
    described = [task for task in run.description.tasks if task.name in experiment.tasks]
    for task in described:
        settings = experiment.tasks[task.name]
        matched: Task | str
        try:
            if isinstance(dataset, Joined):
                dataset.check(task.name)
                settings = settings.under(task.name)
            matched = _match(task, settings, by_name)
        except InputError as error:
            matched = "; ".join(error.problems)
        if isinstance(matched, Task):
            tasks.append(matched)
        else:
            _log.warning(f"task {task.name!r} is left out: {matched}")
    if not tasks:
        raise InputError(
            f"{experiment.dataset.name}: has no target of the run's tasks "
            f"({', '.join(experiment.tasks)}; targets: {', '.join(by_name)})"
        )
    with told_by_line():
        tracks = collect(dataset, tasks, experiment.extract, restrict=False)
    for task in tasks:
        _warn_of_classes(task, experiment.tasks[task.name], tracks)
    _check_features(run, tracks)
    return tracks


def _match(task: Task, settings: TaskSettings, targets: Mapping[str, Target]) -> Task | str:
    """Return the run's task for a dataset's target, or the reason why they do not fit."""
    wanted = settings.target if isinstance(settings.target, str) else task.name
    if wanted not in targets:
        return f"the dataset declares no target {wanted!r} (targets: {', '.join(targets)})"
    target = targets[wanted]
    if target.kind != task.kind:
        return f"{wanted!r} is a {target.kind} target, and the run's is a {task.kind}"
    if task.rated:
        low, high = (float(end) for end in target.range)
        return replace(task, target=wanted, range=(low, high))
    if task.kind == "pairs":
        return replace(task, target=wanted)
    becomes = {name: settings.classes.get(name, name) or None for name in target.classes}
    merged = {old: new if new in task.classes else None for old, new in becomes.items()}
    if not any(merged.values()):
        nouns = "tags" if task.kind == "tags" else "classes"
        return f"none of its {nouns} is one of the run's ({nouns}: {', '.join(task.classes)})"
    return replace(task, target=wanted, merged=merged)


def _warn_of_ranges(run: TrainedRun, tracks: Tracks) -> None:
    """Warn of ratings whose range differs from that of the run."""
    ranges = {task.name: task.range for task in run.description.tasks}
    for task in tracks.tasks:
        (low, high), before = task.range, ranges[task.name]
        if task.rated and (low, high) != before:
            _log.warning(
                f"task {task.name!r}: its range is [{low:g}, {high:g}] in this dataset and "
                f"[{before[0]:g}, {before[1]:g}] in the run's; predictions are stretched to it"
            )


def _warn_of_classes(task: Task, settings: TaskSettings, tracks: Tracks) -> None:
    """Warn of labels that are left out because the run does not have their class."""
    if task.kind != "classification":
        return
    labels = Counter(track.targets.get(task.target) for track in (*tracks.tracks, *tracks.unlabelled))
    unknown = {
        str(name): count
        for name, count in labels.items()
        if name is not None
        and task.merged.get(str(name), "") is None
        and settings.classes.get(str(name)) is not False
    }
    if unknown:
        listed = ", ".join(f"{name} ({count})" for name, count in sorted(unknown.items()))
        _log.warning(
            f"task {task.name!r}: {sum(unknown.values())} tracks with classes unknown to the run are ignored: "
            f"{listed}. Merge these classes with tasks.{task.name}.classes"
        )


def _check_features(run: TrainedRun, tracks: Tracks) -> None:
    """Raise an error if the features are not of the kind on which the run was trained."""
    described = run.description
    if tracks.rows != described.rows:
        raise InputError(
            f"{run.directory}: was trained on {described.input_size} feature rows, {rows_text(described.rows)}; "
            f"the dataset has {rows_text(tracks.rows)}"
        )
    if not tracks.extraction or not described.extraction:
        return
    first, second = (
        [{key: value for key, value in table.items() if key not in _PLACES} for table in tables]
        for tables in (described.extraction, tracks.extraction)
    )
    if first != second:
        raise InputError(
            f"{run.directory}: was trained on the features {_listed(first)}; the dataset's are {_listed(second)}"
        )


_PLACES = ("cache", "on_error", "excerpt", "dtype", "name")
"""Keys of a table of features that may differ between training and evaluation."""


def _listed(tables: Sequence[Mapping[str, Any]]) -> str:
    return " and ".join(
        "{" + ", ".join(f"{name} = {value!r}" for name, value in table.items()) + "}" for table in tables
    )


def _split(experiment: Experiment, tracks: Tracks) -> Split:
    for key, settings in experiment.splits.values():
        stratify = settings.stratify
        names = [*(task.name for task in tracks.tasks), *(target.name for target in tracks.declared)]
        if stratify is not None and stratify not in names:
            raise InputError(
                f"the split is stratified by {stratify!r}, which is left out; choose --part {ALL}, or another split "
                f"with --set {'.'.join(map(str, key))}.stratify=TASK"
            )
    return split_tracks(experiment, tracks)


def _warn_of_overlap(run: TrainedRun, experiment: Experiment, ids: Sequence[str]) -> None:
    """Warn if tracks have the ids of training tracks of the run."""
    trained = set(_qualified(run.experiment, run.record.split.get("train", [])))
    common = sum(name in trained for name in _qualified(experiment, ids))
    if common:
        _log.warning(
            f"{common} of {len(ids)} tracks have the ids of training tracks of the run. If they are the same tracks, "
            "the metrics are optimistic"
        )


def _qualified(experiment: Experiment, ids: Sequence[str]) -> list[tuple[str, str]]:
    """Return the type of each track's dataset, and its id in it."""
    if isinstance(experiment.dataset, Component):
        return [(experiment.dataset.name, name) for name in ids]
    types = {name: component.name for name, component in experiment.datasets.items()}
    return [(types.get(source, source), name) for source, _, name in (name.partition("/") for name in ids)]
