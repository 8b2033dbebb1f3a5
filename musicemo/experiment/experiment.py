"""An experiment: from its file, with every error in it, to the validated form and the resolved tables."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from torch import nn

from musicemo import toml
from musicemo.components import registry
from musicemo.components.local import LocalCode, Policy, unplaced
from musicemo.components.lookup import Components, LossTerm, core_settings, describe_problem
from musicemo.components.spec import AugmentSettings, Component, PluginSettings, default_component, to_toml
from musicemo.contracts import Dataset, Estimator, Launcher, Sharing, Target, Track, kinds_of
from musicemo.data import (
    HeadSettings,
    ScalingSettings,
    SplitSettings,
    Task,
    TaskSettings,
    Tracks,
    stream_columns,
)
from musicemo.errors import InputError, nearest
from musicemo.evaluation import EvaluationSettings
from musicemo.experiment.datasets import JointDataset, find_members
from musicemo.experiment.distillation import (
    TEACHER_TABLES,
    DistillationSettings,
    inline_teacher,
    teacher_source,
)
from musicemo.experiment.ensemble import Ensemble, find_ensembles, merge_members
from musicemo.experiment.features import (
    DEFAULT_FEATURES,
    MOVED,
    FeatureTable,
    default_features,
    extract,
    find_features,
)
from musicemo.experiment.matrix import expand, in_variants
from musicemo.experiment.protocol import Protocol, load_protocol
from musicemo.experiment.schema import (
    DEFAULT_LAUNCHER,
    DEFAULT_LOSSES,
    DEFAULT_OPTIMIZER,
    DEFAULT_SHARING,
    DEFAULT_WEIGHTING,
    ExperimentTable,
)
from musicemo.experiment.search import Search, lay_overrides, parse_search
from musicemo.features import Stream
from musicemo.ops import Distribution
from musicemo.settings import validate
from musicemo.training import PretrainingSettings, TrainingSettings, TransferSettings
from musicemo.workers import cores

__all__ = [
    "Experiment",
    "Replicate",
    "load_benchmark",
    "load_experiment",
    "load_experiments",
    "validate_experiment",
]


@dataclass(frozen=True)
class Experiment:
    """A validated experiment."""

    name: str
    description: str
    seeds: Sequence[int]
    dataset: Component | JointDataset
    #: Empty if the file has none: audio gets the default extractor, and ready-made features are used as they are.
    features: Sequence[FeatureTable]
    #: The augmentations of training examples in their order, with `AugmentSettings`.
    augmentations: Sequence[Component]
    split: SplitSettings
    scaling: ScalingSettings
    model: Component
    tasks: Mapping[str, TaskSettings]
    heads: Mapping[str, HeadSettings]
    #: Task -> the terms of its loss; empty where the task's kind decides.
    losses: Mapping[str, Sequence[LossTerm]]
    #: The same by kind of target, for those tasks; only the kinds that the file names.
    default_losses: Mapping[str, Sequence[LossTerm]]
    sharing: Component
    weighting: Component
    training: TrainingSettings
    transfer: TransferSettings | None
    evaluation: EvaluationSettings
    launcher: Component
    #: The plugins that the file configures, by the name of their table, with `PluginSettings`.
    plugins: Mapping[str, Component]
    source: toml.Source
    #: The published protocol that it follows.
    protocol: Protocol | None = None
    #: The files of code that the experiment names, as they were executed.
    code: Sequence[LocalCode] = ()
    #: The hyperparameter search that the file describes; the rest is what all trials have in common.
    search: Search | None = None
    #: The ensemble of which it is a member.
    ensemble: Ensemble | None = None
    #: The table ``[pretraining]``.
    pretraining: PretrainingSettings | None = None
    #: The table ``[distillation]``, and the experiment of the teacher: the same with other features, scaling and model.
    distillation: DistillationSettings | None = None
    teacher: Experiment | None = None

    @property
    def variant(self) -> Mapping[str, Any]:
        """Axis -> value, for a variant of a file with a matrix; else empty. JSON has no inf and nan: they are text."""
        return {
            axis: str(value) if isinstance(value, float) and not math.isfinite(value) else value
            for axis, value in self.source.variant.items()
        }

    @property
    def datasets(self) -> Mapping[str, Component]:
        """The datasets' components, by name."""
        if isinstance(self.dataset, Component):
            return {self.dataset.name: self.dataset}
        return {member.name: member.component for member in self.dataset.members}

    @property
    def cache_names(self) -> Mapping[str, str]:
        """Dataset -> name of its folder in the cache, the same alone and joined; the name of one dataset is empty."""
        if isinstance(self.dataset, Component):
            return {"": unplaced(self.dataset.name)}
        return {member.name: unplaced(member.component.name) for member in self.dataset.members}

    @property
    def splits(self) -> Mapping[str, tuple[toml.Key, SplitSettings]]:
        """Where the split of each of several datasets is written, and what it is; of one, under an empty name."""
        if isinstance(self.dataset, Component):
            return {"": (("split",), self.split)}
        return self.dataset.splits(self.split)

    @property
    def split_file(self) -> Path:
        """The file of a split that is read, ``split.path``, which is relative to the experiment file."""
        return self.source.origin(("split", "path")).folder / str(self.split.path)

    @property
    def proportions(self) -> Mapping[str, float]:
        """Dataset -> its part of what is drawn to train on; empty where each track comes once an epoch."""
        members = [] if isinstance(self.dataset, Component) else self.dataset.members
        return {member.name: share for member in members if (share := member.settings.proportion) is not None}

    @property
    def unchecked(self) -> Sequence[str]:
        """The names of components in files that were not executed and whose source does not tell their parameters."""
        every = (*self.losses.values(), *self.default_losses.values())
        losses = [term.component for terms in every for term in terms]
        extractors = [table.component for table in self.features]
        components = [
            *self.datasets.values(),
            *extractors,
            *self.augmentations,
            self.model,
            self.sharing,
            self.weighting,
            *losses,
            *self.plugins.values(),
        ]
        return list(dict.fromkeys(one.name for one in components if one.factory is None and not one.checked))

    def distributions(self, task: str, kind: str) -> dict[str, Distribution]:
        """Return loss -> the distribution of ratings that it learns, for the losses of a task that learn one.

        Args:
            task: name of the task.
            kind: kind of its target, which decides its default losses.

        Raises:
            InputError: a loss rejects its parameters, with the line of the experiment file.
        """
        terms = self.losses[task] or self.default_losses.get(kind, ())
        losses = {
            loss.name: loss.build(class_counts={}, tag_counts={})
            for _, loss, _ in terms
            if "regression" in kinds_of(loss.factory)
        }
        return {name: loss.distribution for name, loss in losses.items() if hasattr(loss, "distribution")}

    def build_dataset(self) -> Dataset:
        """Construct the dataset, or all of them and what they are together.

        Raises:
            InputError: with the line of the experiment file.
        """
        if isinstance(self.dataset, JointDataset):
            return self.dataset.build(self.tasks, self.source)
        with self.source.blaming("dataset"):
            built: Dataset = self.dataset.build()
        return built

    def build_backbone(self, targets: Sequence[Target], streams: Mapping[str, tuple[int, int]]) -> nn.Module:
        """Construct the model.

        Args:
            targets: the targets of the tasks.
            streams: stream of features -> its number of features, and how many outputs of this size are summed.

        Raises:
            InputError: the model rejects its parameters, or it cannot be trained on such streams.
        """
        columns = stream_columns(streams)
        size = sum(size for size, _ in streams.values())
        model: nn.Module = self.model.build(input_size=size, targets=targets, streams=columns)
        shares = self.sharing.name != DEFAULT_SHARING["type"]
        if shares and isinstance(model, Estimator):
            with self.source.blaming("sharing"):
                raise InputError(
                    f"{self.sharing.name!r} stands between a network and its heads, and the model {self.model.name!r} "
                    "is fitted in one go. Remove [sharing], or use a model that is trained by gradients"
                )
        summed = [name for name, (_, layers) in streams.items() if layers > 1]
        if summed and isinstance(model, Estimator):
            raise InputError(
                f'features: {summed[0]!r} has combine = "weighted-sum", whose weights are learned with a network, and '
                f'{self.model.name!r} is fitted in one go. Use combine = "concatenate"'
            )
        return model

    def build_sharing(self, tasks: Sequence[str], embedding_size: int) -> Sharing:
        """Construct the sharing architecture of some tasks; see `Network`.

        Raises:
            InputError: it rejects its parameters, or its size is not an integer; with the line of the experiment file.
        """
        with self.source.blaming("sharing"):
            sharing: Sharing = self.sharing.build(tasks=tasks, embedding_size=embedding_size)
            size = getattr(sharing, "size", None)
            if not isinstance(size, int) or isinstance(size, bool) or size < 1:
                raise InputError(
                    f"sharing {self.sharing.name!r}: its size is {size!r}, which must be an integer > 0"
                )
        return sharing

    def extract(
        self, tracks: Sequence[Track], launcher: Launcher | None = None
    ) -> tuple[list[Track], Sequence[Stream]]:
        """Return tracks with their features, and the streams of those that have audio.

        Args:
            tracks: the tracks.
            launcher: where blocks of songs are extracted; by default in processes of this machine.

        Raises:
            InputError: features cannot be extracted or read; with the line of the experiment file.
            RunError: the cache cannot be written, or an extractor returns invalid values.
        """
        return extract(self.features, self.source, self.cache_names, tracks, launcher)

    @property
    def threads(self) -> int | None:
        """How many threads each process of its runs computes with; None for as many as torch takes.

        The number decides in which order floating-point sums are added up. Where there are several runs it is one,
        so that each comes out the same alone and beside others.
        """
        several = self.variant or self.search or len(self.replicates()) > 1
        processes = self.training.processes
        shared = None if processes == 1 else max(1, cores() // processes)
        return self.training.threads or (1 if several else shared)

    def completed(self, tracks: Tracks) -> Experiment:
        """Return the experiment with what it leaves to its data.

        These are a loss for every task, by the kind of its target, the features of audio, and whether a validation set
        is needed.
        """
        tasks = tracks.tasks
        split = self.split
        if split.validation is None:
            share = 0.0 if self._needs_no_validation(tasks) else split.validation_share
            split = split.model_copy(update={"validation": share})
        losses = {
            task.name: self.losses[task.name]
            or self.default_losses.get(task.kind)
            or [LossTerm(1.0, default_component("loss", DEFAULT_LOSSES[task.kind]))]
            for task in tasks
        }
        features = self.features or default_features(tracks.streams)
        return replace(self, losses=losses, default_losses={}, features=features, split=split)

    @property
    def fitted_at_once(self) -> bool:
        """Whether the model is an estimator, which has one epoch."""
        return isinstance(self.model.factory, type) and issubclass(self.model.factory, Estimator)

    def _needs_no_validation(self, tasks: Sequence[Task]) -> bool:
        """Return whether cross-validation has no use for a validation set.

        An estimator has one epoch, so no epoch is chosen. The validation set also determines the calibration, and the
        thresholds of tags.
        """
        return (
            self.split.method == "kfold"
            and self.fitted_at_once
            and self.evaluation.calibration in (None, "none")
            and not any(task.kind == "tags" for task in tasks)
        )

    def resolved(
        self, seed: int | None = None, fold: int | None = None, threads: int | None = None
    ) -> dict[str, Any]:
        """Return the experiment as nested tables with every default filled in; of one replicate, without the launcher.

        Args:
            seed: of one replicate; None for all.
            fold: of one replicate; None for all, or without k-fold.
            threads: what a replicate computes with, where the experiment leaves that open.
        """
        tables = [table.to_table() for table in self.features]
        tasks = {}
        for name, task in self.tasks.items():
            table = to_toml(task.model_dump(exclude={"loss", "head"}))
            if losses := self.losses[name]:
                table["loss"] = [term.to_table() for term in losses]
            tasks[name] = table | {"head": to_toml(self.heads[name].model_dump())}
        training = self.training.model_copy(update={"threads": self.training.threads or threads})
        split = self.split if fold is None else self.split.model_copy(update={"fold": fold})
        if split.path is not None:  # a run keeps the ids in its own file
            path = "split.json" if seed is not None else str(self.split_file)
            split = split.model_copy(update={"path": path})
        return {
            "name": self.name,
            **({"description": self.description} if self.description else {}),
            **({"protocol": self.protocol.name} if self.protocol else {}),
            **({"seeds": list(self.seeds)} if seed is None else {"seed": seed}),
            **({"launcher": self.launcher.to_table()} if seed is None else {}),
            "dataset": self.dataset.to_table(),
            **({"features": tables if len(tables) > 1 else tables[0]} if tables else {}),
            **({"augment": [one.to_table() for one in self.augmentations]} if self.augmentations else {}),
            "split": to_toml(split.model_dump()),
            "scaling": to_toml(self.scaling.model_dump()),
            "model": self.model.to_table(),
            **(
                {
                    "losses": {
                        kind: [term.to_table() for term in terms] for kind, terms in self.default_losses.items()
                    }
                }
                if self.default_losses
                else {}
            ),
            "sharing": self.sharing.to_table(),
            "weighting": self.weighting.to_table(),
            "training": to_toml(training.model_dump()),
            **({"transfer": to_toml(self.transfer.model_dump())} if self.transfer else {}),
            **({"pretraining": to_toml(self.pretraining.model_dump())} if self.pretraining else {}),
            **({"distillation": self._resolved_distillation()} if self.distillation else {}),
            "evaluation": to_toml(self.evaluation.model_dump()),
            **(
                {"plugins": {name: one.to_table() for name, one in self.plugins.items()}}
                if self.plugins
                else {}
            ),
            **({"search": self.search.to_table()} if self.search and seed is None else {}),
            **(
                {"ensemble": to_toml(self.ensemble.settings.model_dump())}
                if self.ensemble and not self.ensemble.settings.members and seed is None
                else {}  # an experiment of another file does not know that it is a member
            ),
            "tasks": tasks,
        }

    def _resolved_distillation(self) -> dict[str, Any]:
        assert self.distillation is not None
        teacher: Any = self.distillation.teacher
        if self.teacher is not None:
            resolved = self.teacher.resolved()
            teacher = {name: resolved[name] for name in TEACHER_TABLES if name in resolved}
        return {**to_toml(self.distillation.model_dump(exclude={"teacher"})), "teacher": teacher}

    @property
    def run_count(self) -> int:
        """Number of runs. Of a search, the number if no trial is pruned or a duplicate."""
        replicates = self.replicates()
        if self.search is None:
            return len(replicates)
        inner = self.search.settings.inner_folds
        if inner is None:
            return self.search.trials * len(replicates)
        return self.search.trials * len(replicates) * inner + len(replicates)  # and those of the best trials

    @property
    def task_count(self) -> int:
        """Number of tasks that can be executed at the same time: runs, or trials of a search."""
        if self.search is None:
            return len(self.replicates())
        outer = len({one.fold for one in self.replicates()}) if self.search.settings.inner_folds else 1
        return self.search.trials * outer

    def replicates(self) -> list[Replicate]:
        """Return a replicate for every seed and fold, the folds of the first seed first."""
        folds: Sequence[int | None] = [None]
        if self.split.method == "kfold":
            folds = (
                range(self.split.folds * self.split.repeats) if self.split.fold is None else [self.split.fold]
            )
        return [Replicate.of(self, seed, fold) for seed in self.seeds for fold in folds]


@dataclass(frozen=True, eq=False)
class Replicate:
    """One seed and one fold of an experiment.

    It is pickled as the tables of the experiment, which are validated again where they are unpickled and used.
    """

    source: toml.Source
    seed: int
    #: None without k-fold.
    fold: int | None = None
    #: The inner fold of nested cross-validation and the number of inner folds: the inner fold is the validation set.
    inner: tuple[int, int] | None = None

    @classmethod
    def of(
        cls, experiment: Experiment, seed: int, fold: int | None = None, inner: tuple[int, int] | None = None
    ) -> Replicate:
        """Return the replicate of an experiment that has been validated."""
        replicate = cls(experiment.source, seed, fold, inner)
        vars(replicate)["experiment"] = experiment
        return replicate

    @cached_property
    def experiment(self) -> Experiment:
        """The experiment.

        Raises:
            InputError: it is not valid (any more), with every error.
        """
        return validate_experiment(self.source)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "experiment"}

    def __str__(self) -> str:
        fold = "" if self.fold is None else f", fold {self.fold}"
        inner = "" if self.inner is None else f", inner fold {self.inner[0]}"
        return f"{self.source.table['name']}, seed {self.seed}{fold}{inner}"


def load_experiments(
    file: str | PathLike[str],
    overrides: Sequence[str] = (),
    only: Sequence[str] = (),
    *,
    local_code: Policy = "execute",
    unneeded: Collection[str] = (),
) -> list[Experiment]:
    """Read, merge and validate an experiment file: an experiment, the variants of its matrix, or an ensemble's members.

    Args:
        file: the experiment file.
        overrides: ``KEY=VALUE``, laid over every variant.
        only: ``AXIS=VALUE``, which variants to return.
        local_code: what is done with files of code that it names; ``read`` gives an experiment only to look at.
        unneeded: kinds of components that are not used; they need not be installed.

    Raises:
        InputError: with every error, each with its file, line and key.
    """
    file = Path(file)
    source = toml.read(file, [])
    written = source.copy()
    written.override(overrides)
    table = written.table.get("ensemble")
    if isinstance(table, dict) and "members" in table:
        every = merge_members(source, overrides, only)
        loaded = _validate_variants(every, local_code, unneeded)
        _check_members(loaded, written)
    else:
        variants = expand(source, overrides, file.stem, only)
        loaded = _validate_variants(variants, local_code, unneeded)
        every = expand(source, overrides, file.stem) if only and table is not None else variants
    if table is None:
        return loaded
    ensembles = find_ensembles(written, every, len(loaded[0].seeds))
    return [replace(one, ensemble=ensembles[one.name]) for one in loaded]


def _check_members(members: Sequence[Experiment], written: toml.Source) -> None:
    """Raise an error if several members of an ensemble are the same experiment, seed and fold."""
    counts = Counter((member.name, one.seed, one.fold) for member in members for one in member.replicates())
    if twice := next((key for key, count in counts.items() if count > 1), None):
        raise InputError(
            written.error(
                ("ensemble", "members"), f"several members have the name {twice[0]!r}. Change their `name`"
            )
        )


def load_benchmark(
    name: str, overrides: Sequence[str] = (), only: Sequence[str] = (), *, local_code: Policy = "execute"
) -> list[Experiment]:
    """Return the experiment of a protocol, or each variant of a matrix that the overrides make of it.

    Its name consists of the protocol, the features and the model. A table ``[features]`` without a type is that of the
    default extractor.

    Args:
        name: the protocol.
        overrides: ``KEY=VALUE``, laid over its experiment.
        only: ``AXIS=VALUE``, which variants to return.
        local_code: what is done with files of code that the overrides name.

    Raises:
        InputError: with every error; or no package has the protocol.
    """
    source = load_protocol(name).source
    source.lay({"protocol": name}, lambda _: toml.Origin(source.file, 1))
    preview = source.copy()
    preview.override(overrides)
    features = preview.table.get("features")
    if isinstance(features, dict) and "type" not in features:
        source.lay({"features": {"type": DEFAULT_FEATURES}}, lambda _: toml.Origin(source.file, 1))
        features = {"type": DEFAULT_FEATURES}
    tables = [features[0] if isinstance(features, list) else features, preview.table.get("model")]
    types = [unplaced(str(table.get("type"))) for table in tables if isinstance(table, dict)]
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", "-".join([name, *types]))
    source.lay({"name": stem}, lambda _: toml.Origin(source.file, 1))
    return _validate_variants(expand(source, overrides, stem, only), local_code)


def _validate_variants(
    variants: Sequence[toml.Source], local_code: Policy, unneeded: Collection[str] = ()
) -> list[Experiment]:
    loaded: list[Experiment] = []
    #: Problem -> the variants that have it.
    problems: dict[str, list[str]] = {}
    for source in variants:
        try:
            loaded.append(validate_experiment(source, local_code=local_code, unneeded=unneeded))
        except InputError as error:
            for problem in dict.fromkeys(error.problems):
                problems.setdefault(problem, []).append(str(source.table["name"]))
    if problems:
        raise InputError(*(in_variants(text, names, len(variants)) for text, names in problems.items()))
    return loaded


def load_experiment(
    file: str | PathLike[str],
    overrides: Sequence[str] = (),
    only: Sequence[str] = (),
    *,
    local_code: Policy = "execute",
    unneeded: Collection[str] = (),
) -> Experiment:
    """Read, merge and validate the file of one experiment; see `load_experiments`.

    Raises:
        InputError: with every error, each with its file, line and key; or more than one variant is left.
    """
    first, *others = load_experiments(file, overrides, only, local_code=local_code, unneeded=unneeded)
    if others:
        raise InputError(
            f"{file}: its matrix has {1 + len(others)} variants, {first.name} to {others[-1].name}; choose one with "
            + " ".join(f"--only {axis}=VALUE" for axis in first.variant)
        )
    return first


def validate_experiment(
    source: toml.Source, *, local_code: Policy = "execute", unneeded: Collection[str] = ()
) -> Experiment:
    """Return the experiment of one variant's tables, which is what another process is sent of an experiment.

    Args:
        source: the tables.
        local_code: what is done with files of code that it names.
        unneeded: kinds of components that are not used; they need not be installed.

    Raises:
        InputError: with every error, each with its file, line and key.
    """
    source.table.setdefault("name", source.file.stem)
    if "search" in source.table:
        if "ensemble" in source.table:
            raise InputError(
                source.error(
                    ("ensemble",),
                    "an experiment with [search] cannot be a member. Run the search first, and use the file of its "
                    "best trial, best.toml, as a member",
                )
            )
        return _validate_search(source, local_code)
    training = source.table.get("training")
    optimizer = training.get("optimizer") if isinstance(training, dict) else None
    if isinstance(optimizer, dict):
        optimizer.setdefault("type", DEFAULT_OPTIMIZER)
    if isinstance(source.table.get("launcher"), dict):
        source.table["launcher"].setdefault("type", DEFAULT_LAUNCHER["type"])
    problems: list[str] = []
    schema: ExperimentTable | None = None
    inline_teacher(source)
    try:
        schema = validate(ExperimentTable, source.table)
    except ValidationError as error:
        file_keys = ["extends", "matrix", "search"]
        problems += [
            describe_problem(source, (), ExperimentTable, details, file_keys) for details in error.errors()
        ]
    components = Components(source, problems, local_code=local_code, unneeded=unneeded)
    dataset: Component | JointDataset | None
    if schema is not None and isinstance(schema.dataset, list):
        dataset = find_members(components, source, problems, schema.split)
    else:
        dataset = components.find("dataset", ("dataset",), moved=MOVED)
    features = find_features(components, source, problems)
    augmentations = _find_augmentations(components, source, problems)
    model = components.find("model", ("model",))
    sharing = components.find("sharing", ("sharing",), DEFAULT_SHARING)
    weighting = components.find("weighting", ("weighting",), DEFAULT_WEIGHTING)
    launcher = components.find("launcher", ("launcher",), DEFAULT_LAUNCHER)
    plugins = _find_plugins(components, source, problems)
    losses = {
        name: list(components.losses(("tasks", name, "loss")))
        for name in _names_of_tables(source.table.get("tasks"))
    }
    kinds = source.table.get("losses")
    default_losses: dict[str, list[LossTerm]] = {
        kind: list(components.losses(("losses", kind), kind))
        for kind in DEFAULT_LOSSES
        if isinstance(kinds, dict) and kind in kinds
    }
    protocol: Protocol | None = None
    if schema and schema.protocol is not None and dataset and "dataset" not in unneeded:
        try:
            with source.blaming("protocol"):
                protocol = load_protocol(schema.protocol)
            problems += protocol.breaches(dataset, schema.split, schema.tasks, source)
        except InputError as error:
            problems += error.problems
    teacher: Experiment | None = None
    if schema and schema.distillation and "loss" not in unneeded:  # a trained network needs no teacher
        teacher = _find_teacher(source, problems, local_code=local_code, unneeded=unneeded)
        if model and isinstance(model.factory, type) and issubclass(model.factory, Estimator):
            problems.append(
                source.error(
                    ("distillation",), f"is for networks, and {model.name!r} is fitted in one go. Leave it out"
                )
            )
    if schema and schema.pretraining:
        problems += _problems_of_pretraining(schema, model, source)
    if problems or not (schema and dataset and model and sharing and weighting and launcher):
        raise InputError(*dict.fromkeys(problems))
    return Experiment(
        name=schema.name,
        description=schema.description,
        seeds=schema.seeds or [schema.seed or 0],
        dataset=dataset,
        features=features,
        augmentations=augmentations,
        split=schema.split,
        scaling=schema.scaling,
        model=model,
        tasks=schema.tasks,
        heads={name: task.head or schema.head for name, task in schema.tasks.items()},
        losses=losses,
        default_losses=default_losses,
        sharing=sharing,
        weighting=weighting,
        training=schema.training,
        transfer=schema.transfer,
        evaluation=schema.evaluation,
        launcher=launcher,
        plugins=plugins,
        source=source,
        protocol=protocol,
        code=(*components.code, *(teacher.code if teacher else ())),
        pretraining=schema.pretraining,
        distillation=schema.distillation,
        teacher=teacher,
    )


def _problems_of_pretraining(
    schema: ExperimentTable, model: Component | None, source: toml.Source
) -> Iterator[str]:
    """Yield the reasons why the backbone cannot be pretrained."""
    if model and isinstance(model.factory, type) and issubclass(model.factory, Estimator):
        yield source.error(
            ("pretraining",), f"is for networks, and {model.name!r} is fitted in one go. Leave it out"
        )
    if schema.pretraining and schema.pretraining.type == "contrast" and not schema.augment:
        yield source.error(
            ("pretraining",),
            "compares augmented versions of a track, but there is no [[augment]]. Add augmentations, such as "
            '{ type = "crop" }',
        )
    if schema.training.processes > 1:
        yield source.error(
            ("training", "processes"), f"must be 1 with [pretraining], not {schema.training.processes}"
        )


def _find_teacher(
    source: toml.Source, problems: list[str], *, local_code: Policy, unneeded: Collection[str]
) -> Experiment | None:
    """Return the experiment of the teacher of ``[distillation]``, gathering problems."""
    try:
        teacher = validate_experiment(teacher_source(source), local_code=local_code, unneeded=unneeded)
    except InputError as error:
        problems += error.problems
        return None
    if teacher.model.factory is not None and not teacher.fitted_at_once:
        problems.append(
            source.error(
                ("distillation", "teacher"),
                f"its model {teacher.model.name!r} is trained by gradients. Use one that is fitted in one go, such as "
                "'multi-kernel'",
            )
        )
    return teacher


def _find_plugins(components: Components, source: toml.Source, problems: list[str]) -> dict[str, Component]:
    """Look up and validate the plugins that an experiment configures, gathering problems.

    Plugins that the user ignores with --without are left out.
    """
    plugins: dict[str, Component] = {}
    for name in _names_of_tables(source.table.get("plugins")):
        table = source.table["plugins"][name]
        if registry.ignored("plugin", table.setdefault("type", name)):
            continue
        key: toml.Key = ("plugins", name)
        component = components.find("plugin", key, ignore=tuple(PluginSettings.model_fields))
        settings = core_settings(PluginSettings, source, key, table, problems)
        if component is not None and settings is not None:
            plugins[name] = replace(component, settings=settings)
    return plugins


def _find_augmentations(components: Components, source: toml.Source, problems: list[str]) -> list[Component]:
    """Look up and validate the augmentations of an experiment, gathering problems."""
    tables = source.table.get("augment")
    tasks = _names_of_tables(source.table.get("tasks"))
    augmentations = []
    for index, table in enumerate(tables if isinstance(tables, list) else []):
        if not isinstance(table, dict):
            continue  # the schema has reported it
        key: toml.Key = ("augment", index)
        component = components.find("augmentation", key, ignore=tuple(AugmentSettings.model_fields))
        settings = core_settings(AugmentSettings, source, key, table, problems)
        if settings is None:
            continue
        problems += [
            source.error(
                (*key, "tasks", place),
                f"no task has the name {name!r}{nearest(name, tasks)} (tasks: {', '.join(tasks)})",
            )
            for place, name in enumerate(settings.tasks or ())
            if name not in tasks
        ]
        if settings.tasks and "distillation" in source.table and not {*tasks} <= {*settings.tasks}:
            problems.append(
                source.error(
                    (*key, "tasks"),
                    "must contain every task with [distillation]: the teacher predicts the tracks as they are, also "
                    "for the tasks whose labels do not survive",
                )
            )
        if component is not None:
            augmentations.append(replace(component, settings=settings))
    return augmentations


def _validate_search(source: toml.Source, local_code: Policy) -> Experiment:
    """Return the experiment of tables with ``[search]``: that of the values that the file itself has.

    Keys that it lacks have the first value of their space. Every choice and both ends of every range are validated.
    """
    search = parse_search(source, _names_of_tables(source.table.get("tasks")))
    probes = list(search.probes())
    base = lay_overrides(source, probes[0], search.places, absent_only=True)
    problems: list[str] = []
    experiment: Experiment | None = None
    for trial in [base, *(lay_overrides(source, probe, search.places) for probe in probes)]:
        trial.drop("search")
        try:
            validated = validate_experiment(trial, local_code=local_code)
        except InputError as error:
            problems += error.problems
        else:
            experiment = experiment or validated
    if problems or experiment is None:
        raise InputError(*dict.fromkeys(problems))
    base = lay_overrides(source, probes[0], search.places, absent_only=True)
    return replace(experiment, source=base, search=search)


def _names_of_tables(value: Any) -> list[str]:
    """Return the names of the tables in a table; anything else is the schema's to report."""
    return [name for name, table in value.items() if isinstance(table, dict)] if isinstance(value, dict) else []
