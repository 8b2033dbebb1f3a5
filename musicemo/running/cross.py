"""Several datasets crossed: models are trained on each dataset and on joined ones, and tested on each."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import logging
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any, Literal

from musicemo import messages, toml
from musicemo.comparison import Replicates, SeedResult, compare, join_evaluations
from musicemo.components.hooks import Hooks
from musicemo.components.local import unplaced
from musicemo.contracts import Launcher
from musicemo.data import (
    PARTS,
    Features,
    Recording,
    Split,
    Task,
    Tracks,
    find_same,
    recordings,
    sounding_alike,
)
from musicemo.errors import InputError, RunError
from musicemo.evaluation import SCORES, Evaluation
from musicemo.experiment import Component, Experiment, load_experiment
from musicemo.experiment.tracks import read_tracks, split_tracks
from musicemo.features import cache_name
from musicemo.files import make_folder, read_json, write_json, write_text
from musicemo.prediction import TrainedRun, evaluate_on, read_for
from musicemo.progress import Progress
from musicemo.running.execute import Outcome
from musicemo.running.sweep import Observer, SweepResults, run
from musicemo.runs import RunRecord, open_run

__all__ = ["Cell", "Cross", "CrossedDataset", "SharedTask", "Trained", "cross"]

_log = logging.getLogger(__name__)

Kind = Literal["single", "joint", "leave-one-out"]

#: Name of the training set of all datasets.
_JOINT = "joint"

#: File of the results in the folder of a cross.
_RESULTS = "cross.json"

#: Tables of an experiment in which the crossed experiments should not differ.
_RECIPE = ("features", "augment", "scaling", "model", "sharing", "weighting", "training", "losses")


@dataclass(frozen=True)
class CrossedDataset:
    """One of the datasets."""

    #: Name of its experiment.
    name: str
    dataset: str
    tracks: int
    #: Number of tracks that are tested: those of the test set, or with k-fold all tracks.
    tested: int
    #: Number of folds; 0 without k-fold.
    folds: int


@dataclass(frozen=True)
class SharedTask:
    """A task that several datasets have."""

    name: str
    kind: str
    #: Dataset -> its target.
    targets: Mapping[str, str]
    #: Dataset -> range of its ratings; empty for classes and tags.
    ranges: Mapping[str, Sequence[float]]


@dataclass(frozen=True)
class Trained:
    """A training set: that of one dataset, or of several that are joined."""

    name: str
    kind: Kind
    members: Sequence[str]
    #: Number of tracks left out of the training and validation sets, because they are the same music as test tracks of
    #: another dataset.
    excluded: int
    #: The run directories, by seed and fold.
    runs: Sequence[str]


@dataclass(frozen=True)
class Cell:
    """A metric of the models of one training set on the test tracks of one dataset."""

    task: str
    metric: str
    trained: str
    tested: str
    #: Whether the training set has tracks of the tested dataset.
    in_domain: bool
    value: float | None
    #: Interval for other tracks and seeds.
    low: float | None
    high: float | None
    #: Standard deviation over the models; None for one.
    deviation: float | None
    #: Number of models that were averaged, and of test tracks with a label.
    models: int
    tracks: int
    #: Difference to the models of the tested dataset's own training set, with its interval and corrected p-value.
    difference: float | None = None
    difference_low: float | None = None
    difference_high: float | None = None
    p: float | None = None


@dataclass(frozen=True)
class Cross:
    """The results of `cross`."""

    name: str
    datasets: Sequence[CrossedDataset]
    tasks: Sequence[SharedTask]
    #: Tasks of single datasets -> the dataset.
    unshared: Mapping[str, str]
    trained: Sequence[Trained]
    cells: Sequence[Cell]
    confidence: float
    notes: Sequence[str]
    #: Folder of the results.
    folder: Path
    #: Whether all of them were there before.
    skipped: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return the content of `cross.json`."""
        content = dataclasses.asdict(self)
        del content["folder"], content["skipped"]
        return content

    @classmethod
    def from_json(cls, content: Mapping[str, Any], folder: Path) -> Cross:
        """Return the results from the form of `to_json`."""
        return cls(
            name=content["name"],
            datasets=[CrossedDataset(**one) for one in content["datasets"]],
            tasks=[SharedTask(**one) for one in content["tasks"]],
            unshared=content["unshared"],
            trained=[Trained(**one) for one in content["trained"]],
            cells=[Cell(**one) for one in content["cells"]],
            confidence=content["confidence"],
            notes=content["notes"],
            folder=folder,
            skipped=True,
        )


def cross(
    experiments: Sequence[Experiment | str | PathLike[str]],
    runs: str | PathLike[str] = "runs",
    *,
    name: str | None = None,
    joint: bool = True,
    audio: bool = True,
    device: str | None = None,
    jobs: int | None = None,
    launcher: str | Launcher | None = None,
    hooks: Hooks | None = None,
    observer: Observer | None = None,
) -> Cross:
    """Train on the dataset of each experiment, on all of them together and on all but one, and test on each.

    A model is tested on the test set of each dataset, or with k-fold on all tracks: by the fold that did not train on
    them if the training set has tracks of this dataset, otherwise by the models of all folds. Ratings are predicted in
    the range of the tested dataset. Tracks that are the same music as test tracks of another dataset are left out of
    the training and validation sets.

    The runs are those of `musicemo.run`: finished ones are kept. The results are written to ``runs/<name>/cross.json``,
    beside the experiment files of the joined datasets.

    Args:
        experiments: at least two experiments, each of one dataset, or the paths of their files. The joined datasets are
            trained as the first one says.
        runs: the folder of run directories.
        name: name of the results' folder; the default is that of the experiments, ``cross-A-B``.
        joint: whether to train on joined datasets too.
        audio: whether to compare the sound of audio files, to find the same music.
        device: instead of ``training.device``.
        jobs: maximum number of runs at a time.
        launcher: a launcher, or the name of one, instead of ``[launcher]``.
        hooks: the lifecycle plugins; None loads the installed ones.
        observer: is called with the result of each run.

    Raises:
        InputError: the experiments cannot be crossed, or one of them or its data is wrong.
        RunError: a run failed, or the folder of the results cannot be written.
    """
    loaded = [one if isinstance(one, Experiment) else load_experiment(one) for one in experiments]
    _check(loaded)
    folder = Path(runs) / (name or "cross-" + "-".join(_slug(one.name) for one in loaded))
    with messages.shown(default=True):
        corpora = [_Corpus.read(experiment) for experiment in loaded]
        tasks, unshared = _shared_tasks(corpora)
        plan = _Plan(corpora, tasks, folder, _shared_music(corpora, audio=audio))
        sources = plan.sources(joint=joint)
        results = run(
            [experiment for source in sources for experiment in source.experiments],
            runs,
            resume=True,
            device=device,
            jobs=jobs,
            launcher=launcher,
            hooks=hooks,
            observer=observer,
            check=False,
        )
        results.raise_failures()
        if results.in_progress:
            raise RunError(
                f"{len(results.in_progress)} of {results.total} runs are in progress in other processes. Run the same "
                "command again when they are finished"
            )
        trained = [source.trained(results) for source in sources]
        notes = [*plan.notes, *_recipe_notes(loaded)]
        if (before := _earlier(folder, trained, corpora, tasks)) is not None:
            return before
        cells = list(_cells(corpora, sources, tasks, results))
    crossed = Cross(
        name=folder.name,
        datasets=[corpus.described for corpus in corpora],
        tasks=tasks,
        unshared=unshared,
        trained=trained,
        cells=cells,
        confidence=loaded[0].evaluation.confidence,
        notes=notes,
        folder=folder,
    )
    make_folder(folder)
    write_json(folder / _RESULTS, crossed.to_json())
    return crossed


def _slug(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-_") or "dataset"


def _check(experiments: Sequence[Experiment]) -> None:
    """Raise an `InputError` if experiments cannot be crossed."""
    if len(experiments) < 2:
        raise InputError("musicemo cross needs at least two experiments, one for each dataset")
    problems = []
    for experiment in experiments:
        if not isinstance(experiment.dataset, Component):
            problems.append(
                experiment.source.error(
                    ("dataset",), "joins several datasets, but an experiment that is crossed must have one"
                )
            )
        if experiment.split.repeats > 1:
            problems.append(
                experiment.source.error(("split", "repeats"), "must be 1 in an experiment that is crossed")
            )
        if experiment.transfer is not None:
            problems.append(
                experiment.source.error(("transfer",), "cannot be used in an experiment that is crossed")
            )
        if experiment.search is not None:
            text = (
                "cannot be used in an experiment that is crossed. Run the search first, and cross its best.toml"
            )
            problems.append(experiment.source.error(("search",), text))
        if experiment.ensemble is not None:
            text = "cannot be used in an experiment that is crossed. Cross its members"
            problems.append(experiment.source.error(("ensemble",), text))
    for experiment in experiments:
        if _slug(experiment.name) == _JOINT:
            problems.append(
                experiment.source.error(
                    ("name",), f"{_JOINT!r} is the name of the joined datasets. Choose another name"
                )
            )
    names = Counter(_slug(one.name) for one in experiments)
    if repeated := [name for name, count in names.items() if count > 1]:
        files = ", ".join(str(one.source.file) for one in experiments if _slug(one.name) == repeated[0])
        problems.append(f"{files}: have the same name {repeated[0]!r}. Give each a name of its own")
    if problems:
        raise InputError(*problems)


@dataclass(frozen=True)
class _Corpus:
    """An experiment with its tracks and its splits."""

    name: str
    experiment: Experiment
    tracks: Tracks
    #: Fold -> its split; the fold is None without k-fold.
    splits: Mapping[int | None, Split]

    @classmethod
    def read(cls, experiment: Experiment) -> _Corpus:
        tracks = read_tracks(experiment)
        completed = experiment.completed(tracks)
        folds = dict.fromkeys(one.fold for one in experiment.replicates())
        splits = {fold: split_tracks(completed, tracks, fold) for fold in folds}
        if not any(len(split.parts["test"]) for split in splits.values()):
            raise InputError(
                experiment.source.error(("split",), "the test set is empty, but is needed to cross")
            )
        return cls(_slug(experiment.name), experiment, tracks, splits)

    @cached_property
    def tested(self) -> set[str]:
        """The ids of the test tracks of all folds."""
        return {name for split in self.splits.values() for name in split.track_ids("test")}

    @property
    def described(self) -> CrossedDataset:
        folds = len(self.splits) if None not in self.splits else 0
        return CrossedDataset(
            self.name, unplaced(self.experiment.dataset.name), len(self.tracks), len(self.tested), folds
        )

    def task(self, name: str) -> Task | None:
        return next((task for task in self.tracks.tasks if task.name == name), None)

    @property
    def recordings(self) -> list[Recording]:
        """The tracks, with the checksums of the features of those in a set."""
        features = Features(self.tracks.tracks, self.tracks.rows, "disk")
        return recordings(self.tracks, next(iter(self.splits.values())), features)


def _shared_tasks(corpora: Sequence[_Corpus]) -> tuple[list[SharedTask], dict[str, str]]:
    """Return the tasks that at least two datasets have, and those of a single one.

    Raises:
        InputError: a task is of different kinds, or no task is shared.
    """
    shared, unshared, problems = [], {}, []
    for name in dict.fromkeys(task.name for corpus in corpora for task in corpus.tracks.tasks):
        members = {corpus.name: task for corpus in corpora if (task := corpus.task(name)) is not None}
        first, *others = members.values()
        if not others:
            unshared[name] = next(iter(members))
            continue
        if len({task.kind for task in members.values()}) > 1:
            kinds = ", ".join(f"{corpus}: {task.kind}" for corpus, task in members.items())
            problems.append(f"task {name!r}: the experiments have targets of different kinds ({kinds})")
        shared.append(
            SharedTask(
                name,
                first.kind,
                {corpus: task.target for corpus, task in members.items()},
                {corpus: list(task.range) for corpus, task in members.items() if task.rated},
            )
        )
    if not shared and not problems:
        listed = "; ".join(f"{one.name}: {', '.join(one.experiment.tasks)}" for one in corpora)
        problems.append(
            f"the experiments have no task in common (tasks of {listed}). A task is shared if it has the same name; "
            "tasks.NAME.target names the target in each dataset"
        )
    if problems:
        raise InputError(*problems)
    return shared, unshared


_Place = tuple[str, str]
"""A dataset and the id of a track in it."""


def _shared_music(corpora: Sequence[_Corpus], *, audio: bool) -> dict[_Place, list[_Place]]:
    """Return track -> the tracks of other datasets that are the same music."""
    every = [(corpus, recording) for corpus in corpora for recording in corpus.recordings]
    alike: Sequence[tuple[int, int]] = ()
    if audio:
        tracks = [
            dataclasses.replace(
                recording.track, source=cache_name(recording.track, corpus.experiment.cache_names)
            )
            for corpus, recording in every
        ]
        alike = sounding_alike(tracks, "")
    shared: dict[_Place, list[_Place]] = {}
    for same in find_same([recording for _, recording in every], alike):
        places = [
            (corpus.name, recording.track.id) for corpus, recording in map(every.__getitem__, same.members)
        ]
        for place in places:
            if others := [other for other in places if other[0] != place[0]]:
                shared[place] = others
    return shared


@dataclass(frozen=True)
class _Source:
    """A training set, as experiments: one for each fold, or one for all."""

    name: str
    kind: Kind
    members: Sequence[str]
    excluded: int
    #: The experiments, and the fold of each; None if the experiment has the folds itself, or there are none.
    folds: Mapping[int | None, Experiment]

    @property
    def experiments(self) -> list[Experiment]:
        return list(self.folds.values())

    def outcomes(self, results: SweepResults) -> Iterator[tuple[int, int | None, Outcome]]:
        """Yield the outcomes, each with its seed and fold."""
        for fold, experiment in self.folds.items():
            for outcome in results.of(experiment):
                yield outcome.seed, outcome.fold if fold is None else fold, outcome

    def trained(self, results: SweepResults) -> Trained:
        directories = [str(outcome.directory) for _, _, outcome in self.outcomes(results)]
        return Trained(self.name, self.kind, self.members, self.excluded, directories)


@dataclass(frozen=True)
class _Plan:
    """Decides what is trained."""

    corpora: Sequence[_Corpus]
    tasks: Sequence[SharedTask]
    folder: Path
    #: Track -> the tracks of other datasets that are the same music.
    shared: Mapping[_Place, Sequence[_Place]]

    def sources(self, *, joint: bool) -> list[_Source]:
        """Return the training sets.

        Raises:
            InputError: datasets cannot be joined.
        """
        names = [corpus.name for corpus in self.corpora]
        sources = [self._single(corpus) for corpus in self.corpora]
        if joint:
            self._check_folds()
            sources.append(self._joined(f"{self.folder.name}-joint", _JOINT, "joint", names))
            if len(names) > 2:  # of two datasets, all but one is the other one
                sources += [
                    self._joined(
                        f"{self.folder.name}-without-{left_out}",
                        f"without {left_out}",
                        "leave-one-out",
                        [name for name in names if name != left_out],
                    )
                    for left_out in names
                ]
        return sources

    @property
    def notes(self) -> list[str]:
        """Sentences about music that datasets share."""
        notes = []
        for corpus in self.corpora:
            places = {
                place: others
                for place in self.shared
                if place[0] == corpus.name and (others := self._tests(place))
            }
            if places:
                first = min(places)
                notes.append(
                    f"{len(places)} tracks of {corpus.name} are music that is tested in another dataset, for "
                    f"example {first[1]!r} ({', '.join(places[first])}). They are not trained on"
                )
        return notes

    def _tests(self, place: _Place) -> list[str]:
        """Return the other datasets that test the music of a track."""
        tested = {corpus.name: corpus.tested for corpus in self.corpora}
        return sorted({name for name, track in self.shared.get(place, ()) if track in tested[name]})

    def _check_folds(self) -> None:
        folds = {corpus.name: list(corpus.splits) for corpus in self.corpora}
        if len({tuple(one) for one in folds.values()}) > 1:
            listed = ", ".join(
                f"{name}: {len(one) if None not in one else 'none'}" for name, one in folds.items()
            )
            raise InputError(
                f"the experiments have different folds ({listed}), so that their datasets cannot be joined. Give all "
                "experiments the same [split], or add --no-joint"
            )

    def _single(self, corpus: _Corpus) -> _Source:
        excluded = self._excluded([corpus])
        if not excluded:
            return _Source(corpus.name, "single", [corpus.name], 0, {None: corpus.experiment})
        resolved = _neutral(corpus.experiment)
        return self._written(
            f"{corpus.experiment.name}-disjoint", corpus.name, "single", [corpus], resolved, prefixed=False
        )

    def _joined(self, name: str, label: str, kind: Kind, members: Sequence[str]) -> _Source:
        corpora = [corpus for corpus in self.corpora if corpus.name in members]
        first = corpora[0].experiment
        resolved = _neutral(first)
        tasks = {}
        for shared in self.tasks:
            having = [corpus for corpus in corpora if shared.name in corpus.experiment.tasks]
            if having:
                table = dict(_neutral(having[0].experiment)["tasks"][shared.name])
                classes: dict[str, Any] = {}
                for corpus in having:
                    classes |= _neutral(corpus.experiment)["tasks"][shared.name].get("classes") or {}
                table["target"] = {corpus.name: shared.targets[corpus.name] for corpus in having}
                table.pop("range", None)
                tasks[shared.name] = table | ({"classes": classes} if classes else {})
        datasets = [{**_neutral(corpus.experiment)["dataset"], "name": corpus.name} for corpus in corpora]
        resolved |= {"dataset": datasets, "tasks": tasks}
        resolved.pop("description", None)
        return self._written(name, label, kind, corpora, resolved, prefixed=True)

    def _excluded(self, corpora: Sequence[_Corpus]) -> set[_Place]:
        """Return the tracks of training and validation sets whose music is tested in another dataset.

        Of tracks of the same music in the training set of one dataset and in the validation set of another, that in the
        validation set is returned.
        """
        sets = {
            part: {
                (corpus.name, track)
                for corpus in corpora
                for split in corpus.splits.values()
                for track in split.track_ids(part)
            }
            for part in ("train", "val")
        }
        tested = {place for place in sets["train"] | sets["val"] if self._tests(place)}
        kept = sets["train"] - tested
        return tested | {
            place for place in sets["val"] if any(other in kept for other in self.shared.get(place, ()))
        }

    def _written(
        self,
        name: str,
        label: str,
        kind: Kind,
        corpora: Sequence[_Corpus],
        resolved: Mapping[str, Any],
        *,
        prefixed: bool,
    ) -> _Source:
        """Write the experiment files of a training set, one for each fold, with the ids of its sets; read them.

        Args:
            name: name of the experiment, and of its runs.
            label: name of the training set in the results.
            kind: kind of the training set.
            corpora: its datasets.
            resolved: the tables of the experiment.
            prefixed: whether ids begin with the name of their dataset.
        """
        excluded = self._excluded(corpora)
        make_folder(self.folder)
        folds: dict[int | None, Experiment] = {}
        for fold in corpora[0].splits:
            stem = name if fold is None else f"{name}-fold{fold}"
            parts: dict[str, list[str]] = {part: [] for part in (*PARTS, "excluded")}
            for corpus, part in itertools.product(corpora, PARTS):
                for track in corpus.splits[fold].track_ids(part):
                    kept = part == "test" or (corpus.name, track) not in excluded
                    listed = f"{corpus.name}/{track}" if prefixed else track
                    parts[part if kept else "excluded"].append(listed)
            write_json(self.folder / f"{stem}.split.json", parts)
            split = {"method": "file", "path": f"{stem}.split.json", "validation": 0.0}  # none is drawn
            path = self.folder / f"{stem}.toml"
            write_text(path, toml.write({**resolved, "name": stem, "split": split}))
            folds[fold] = load_experiment(path)
        return _Source(label, kind, [corpus.name for corpus in corpora], len(excluded), folds)


def _neutral(experiment: Experiment) -> dict[str, Any]:
    """Return an experiment's tables with defaults, without those that the results do not depend on."""
    resolved = experiment.resolved()
    for key in ("launcher", "plugins"):
        resolved.pop(key, None)
    return resolved


def _recipe_notes(experiments: Sequence[Experiment]) -> list[str]:
    """Return a sentence about tables in which the experiments differ, although the datasets should."""
    tables = [experiment.resolved() for experiment in experiments]
    differing = [
        key for key in _RECIPE if len({json.dumps(one.get(key), sort_keys=True) for one in tables}) > 1
    ]
    if not differing:
        return []
    return [
        f"The experiments differ in {', '.join(differing)}, so that the rows compare these too, and not only the "
        f"datasets. The joined datasets are trained as {experiments[0].name} says"
    ]


def _earlier(
    folder: Path, trained: Sequence[Trained], corpora: Sequence[_Corpus], tasks: Sequence[SharedTask]
) -> Cross | None:
    """Return the results in a folder if they are those of the same runs, datasets and tasks."""
    try:
        content = read_json(folder / _RESULTS)
        before = Cross.from_json(content, folder)
    except (InputError, OSError, ValueError, KeyError, TypeError):
        return None
    now = [list(trained), [corpus.described for corpus in corpora], list(tasks)]
    same = [list(before.trained), list(before.datasets), list(before.tasks)] == now
    same = same and before.confidence == corpora[0].experiment.evaluation.confidence
    return before if same else None


class _Evaluator:
    """Evaluates runs on datasets; the tracks of a dataset are read once for all runs with the same tasks."""

    def __init__(self, tasks: Sequence[SharedTask]) -> None:
        self._tasks = tasks
        self._tracks: dict[str, Tracks] = {}

    def evaluate(
        self, corpus: _Corpus, source: _Source, fold: int | None, record: RunRecord
    ) -> Evaluation | None:
        """Return the evaluation of a run on a dataset's test tracks; None if it has no task of the dataset."""
        names = [task.name for task in self._tasks if corpus.name in task.targets and task.name in record.tasks]
        if not names:
            return None
        if source.kind == "single" and source.members == [corpus.name]:
            evaluation = record.evaluations["test"]
        else:
            trained = TrainedRun.load(record, trust_local_code=True)
            ids = corpus.tested
            if corpus.name in source.members:
                ids = set(corpus.splits[fold].track_ids("test"))
            evaluation = evaluate_on(trained, self._read(corpus, trained), ids, corpus.experiment.training)
        return Evaluation({name: evaluation.tasks[name] for name in names if name in evaluation.tasks})

    def _read(self, corpus: _Corpus, trained: TrainedRun) -> Tracks:
        described = trained.description.to_state()
        key = json.dumps([corpus.name, *(described[name] for name in ("tasks", "rows", "extraction"))])
        if key not in self._tracks:
            self._tracks[key] = read_for(trained, corpus.experiment)
        return self._tracks[key]


def _cells(
    corpora: Sequence[_Corpus], sources: Sequence[_Source], tasks: Sequence[SharedTask], results: SweepResults
) -> Iterator[Cell]:
    """Yield the cells, by tested dataset, task and metric."""
    evaluator = _Evaluator(tasks)
    total = len(corpora) * sum(1 for source in sources for _ in source.outcomes(results))
    with Progress("Evaluating", "models") as progress:
        done = 0
        progress.update(done, total)
        for corpus in corpora:
            rows: list[Replicates] = []
            for source in sources:
                evaluations = []
                for seed, fold, outcome in source.outcomes(results):
                    record = open_run(outcome.directory)
                    evaluations.append((seed, fold, record, evaluator.evaluate(corpus, source, fold, record)))
                    done += 1
                    progress.update(done, total)
                if replicates := _replicates(source, corpus, evaluations):
                    rows.append(replicates)
            yield from _compared(corpus, rows, {source.name: source for source in sources})


def _replicates(
    source: _Source,
    corpus: _Corpus,
    evaluations: Sequence[tuple[int, int | None, RunRecord, Evaluation | None]],
) -> Replicates | None:
    """Return the evaluations of a training set's models as replicates.

    In the dataset of the training set, the folds of a seed are combined. In another dataset, each model is one.
    """
    every = [
        (seed, fold, record, one) for seed, fold, record, one in evaluations if one is not None and one.tasks
    ]
    if not every:
        return None
    per_seed = []
    if corpus.name in source.members:
        for seed in dict.fromkeys(seed for seed, *_ in every):
            folds = {fold: one for number, fold, _, one in every if number == seed}
            records = {fold: record for number, fold, record, _ in every if number == seed}
            per_seed.append(SeedResult(seed, 0, records, folds, join_evaluations(list(folds.values()))))
    else:
        for seed, fold, record, one in every:
            joined = join_evaluations([one])
            per_seed.append(SeedResult(seed, fold or 0, {None: record}, {None: joined}, joined))
    ids = sorted(corpus.tested)
    return Replicates(source.name, "test", per_seed, [hashlib.sha256(json.dumps(ids).encode()).hexdigest()])


def _compared(corpus: _Corpus, rows: Sequence[Replicates], sources: Mapping[str, _Source]) -> Iterator[Cell]:
    """Yield the cells of one tested dataset."""
    compared = compare(
        rows,
        baselines=[corpus.name],
        metrics=SCORES,
        settings=corpus.experiment.evaluation,
        allow_different=True,
    )
    for row in compared.rows:
        for score in row.scores:
            difference = score.difference
            yield Cell(
                task=row.task,
                metric=row.metric,
                trained=score.experiment,
                tested=corpus.name,
                in_domain=corpus.name in sources[score.experiment].members,
                value=_finite(score.mean),
                low=_finite(score.low),
                high=_finite(score.high),
                deviation=_finite(score.deviation),
                models=len(score.values),
                tracks=score.tracks,
                difference=_finite(difference.value) if difference else None,
                difference_low=_finite(difference.low) if difference else None,
                difference_high=_finite(difference.high) if difference else None,
                p=_finite(difference.corrected) if difference else None,
            )


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
