"""The experiment: the schema of the TOML, its variants and overrides, and its resolved form."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from musicemo import _matrix, _toml, registry
from musicemo._components import Component, Components, default_component, plain
from musicemo._datasets import JointDataset, find_members
from musicemo._local import LocalCode
from musicemo._problems import describe_problem
from musicemo.contracts import Dataset
from musicemo.data import HeadSettings, ScalingSettings, SplitSettings, Task, TaskSettings
from musicemo.errors import InputError
from musicemo.evaluation import EvaluationSettings
from musicemo.settings import Settings
from musicemo.training import TrainingSettings, TransferSettings

__all__ = [
    "Component",
    "Experiment",
    "ExperimentTable",
    "fingerprint",
    "load_experiment",
    "load_experiments",
    "validate_experiment",
]

_Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]

#: What every random number generator takes.
_Seed = Annotated[int, Field(ge=0, lt=2**32)]

#: Keys of ``[training]`` that say where and how fast to compute.
_OUTCOME_IS_THE_SAME = ("device", "cache", "threads")

#: What a target can be.
TargetKind = Literal["regression", "classification"]

#: A loss, or a list of weighted terms.
_Loss = dict[str, Any] | Annotated[list[dict[str, Any]], Field(min_length=1)]

#: What a file means that names no weighting, or no loss of a task.
_DEFAULT_WEIGHTING = {"type": "constant"}
_DEFAULT_LOSSES = {"regression": "mse", "classification": "cross-entropy"}


class ExperimentTable(Settings):
    """The file as a whole; components are validated against their own signatures."""

    #: The experiment's name, and that of its folder in ``runs``; the file's where absent.
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    #: What it is about, in a sentence.
    description: str = ""
    #: Of the initial weights and the order of the batches; the split has one of its own.
    seed: _Seed | None = None
    #: A run for each, instead of ``seed``: replicates.
    seeds: list[_Seed] | None = Field(default=None, min_length=1)
    #: Where the tracks come from; an array of tables joins several datasets.
    dataset: dict[str, Any] | list[dict[str, Any]]
    #: Which track trains, validates and tests.
    split: SplitSettings = SplitSettings()
    #: How features are scaled before training.
    scaling: ScalingSettings = ScalingSettings()
    #: The backbone, which every task shares.
    model: dict[str, Any]
    #: The layers between the backbone and each task's prediction.
    head: HeadSettings = HeadSettings()
    #: The loss of the tasks that name none, by kind of target.
    losses: dict[TargetKind, _Loss] = Field(default_factory=dict)
    #: What to predict: a table for each task.
    tasks: dict[_Name, TaskSettings] = Field(min_length=1)
    #: How the tasks' losses become one objective.
    weighting: dict[str, Any] = Field(default_factory=lambda: dict(_DEFAULT_WEIGHTING))
    #: How the network is fitted.
    training: TrainingSettings = TrainingSettings()
    #: What an earlier run learnt, to begin with.
    transfer: TransferSettings | None = None
    #: How sure the metrics are.
    evaluation: EvaluationSettings = EvaluationSettings()

    @field_validator("dataset", mode="before")
    @classmethod
    def _one_or_several(cls, tables: Any) -> Any:
        if isinstance(tables, dict) or (
            isinstance(tables, list) and tables and all(isinstance(table, dict) for table in tables)
        ):
            return tables
        raise ValueError("must be a table" + ", or several as [[dataset]]" * isinstance(tables, list))

    @field_validator("seeds")
    @classmethod
    def _each_once(cls, seeds: list[int] | None) -> list[int] | None:
        if seeds and len(set(seeds)) < len(seeds):
            raise ValueError("each must be given once")
        return seeds

    @model_validator(mode="after")
    def _one_of_seed_and_seeds(self) -> ExperimentTable:
        if self.seed is not None and self.seeds is not None:
            raise ValueError("give either seed or seeds")
        return self


@dataclass(frozen=True)
class Experiment:
    """A validated experiment."""

    name: str
    description: str
    seeds: Sequence[int]
    dataset: Component | JointDataset
    split: SplitSettings
    scaling: ScalingSettings
    model: Component
    tasks: Mapping[str, TaskSettings]
    heads: Mapping[str, HeadSettings]
    #: Task -> (weight, loss); empty where the task's kind decides.
    losses: Mapping[str, Sequence[tuple[float, Component]]]
    #: The same by kind of target, for those tasks; only the kinds that the file names.
    default_losses: Mapping[str, Sequence[tuple[float, Component]]]
    weighting: Component
    training: TrainingSettings
    transfer: TransferSettings | None
    evaluation: EvaluationSettings
    source: _toml.Source
    #: The files of code that the experiment names, as they were executed.
    code: Sequence[LocalCode] = ()

    @property
    def variant(self) -> Mapping[str, Any]:
        """Axis -> value, for a variant of a file with a matrix; else empty."""
        return self.source.variant

    @property
    def datasets(self) -> Mapping[str, Component]:
        """The datasets' components, by name."""
        if isinstance(self.dataset, Component):
            return {self.dataset.name: self.dataset}
        return {member.name: member.component for member in self.dataset.members}

    @property
    def splits(self) -> Mapping[str, tuple[_toml.Key, SplitSettings]]:
        """Where the split of each of several datasets is written, and what it is; of one, under an empty name."""
        if isinstance(self.dataset, Component):
            return {"": (("split",), self.split)}
        return self.dataset.splits(self.split)

    @property
    def proportions(self) -> Mapping[str, float]:
        """Dataset -> its part of what is drawn to train on; empty where each track comes once an epoch."""
        members = [] if isinstance(self.dataset, Component) else self.dataset.members
        return {member.name: share for member in members if (share := member.settings.proportion) is not None}

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

    @property
    def threads(self) -> int | None:
        """How many threads each of its runs computes with; None for as many as torch takes.

        The number decides in which order floating-point sums are added up. Where there are several runs it is one,
        so that each comes out the same alone and beside others.
        """
        several = self.variant or len(self.replicates()) > 1
        return self.training.threads or (1 if several else None)

    def completed(self, tasks: Iterable[Task]) -> Experiment:
        """Return the experiment with a loss for every task: where it names none, the kind of target decides."""
        losses = {
            task.name: self.losses[task.name]
            or self.default_losses.get(task.kind)
            or [(1.0, default_component("loss", _DEFAULT_LOSSES[task.kind]))]
            for task in tasks
        }
        return replace(self, losses=losses, default_losses={})

    def resolved(
        self, seed: int | None = None, fold: int | None = None, threads: int | None = None
    ) -> dict[str, Any]:
        """Return the experiment as nested tables with every default filled in.

        Args:
            seed: of one replicate; None for all.
            fold: of one replicate; None for all, or without k-fold.
            threads: what a replicate computes with, where the experiment leaves that open.
        """
        tasks = {}
        for name, task in self.tasks.items():
            table = plain(task.model_dump(exclude={"loss", "head"}))
            if losses := self.losses[name]:
                table["loss"] = _tables_of(losses)
            tasks[name] = table | {"head": plain(self.heads[name].model_dump())}
        training = self.training.model_copy(update={"threads": self.training.threads or threads})
        split = self.split if fold is None else self.split.model_copy(update={"fold": fold})
        return {
            "name": self.name,
            **({"description": self.description} if self.description else {}),
            **({"seeds": list(self.seeds)} if seed is None else {"seed": seed}),
            "dataset": self.dataset.to_table(),
            "split": plain(split.model_dump()),
            "scaling": plain(self.scaling.model_dump()),
            "model": self.model.to_table(),
            **(
                {"losses": {kind: _tables_of(terms) for kind, terms in self.default_losses.items()}}
                if self.default_losses
                else {}
            ),
            "weighting": self.weighting.to_table(),
            "training": plain(training.model_dump()),
            **({"transfer": plain(self.transfer.model_dump())} if self.transfer else {}),
            "evaluation": plain(self.evaluation.model_dump()),
            "tasks": tasks,
        }

    def replicates(self) -> list[tuple[int, int | None]]:
        """Return every (seed, fold) that the experiment stands for; the fold is None without k-fold."""
        folds: Sequence[int | None] = [None]
        if self.split.method == "kfold":
            folds = range(self.split.folds) if self.split.fold is None else [self.split.fold]
        return [(seed, fold) for seed in self.seeds for fold in folds]


def fingerprint(resolved: Mapping[str, Any], **more: Any) -> str:
    """Return the SHA-256 of a resolved experiment, and more, without what does not change its outcome."""
    training = {key: value for key, value in resolved["training"].items() if key not in _OUTCOME_IS_THE_SAME}
    content = {**resolved, "training": training, **more}
    content.pop("description", None)
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def load_experiments(
    file: Path, overrides: Sequence[str] = (), only: Sequence[str] = (), *, run_local_code: bool = True
) -> list[Experiment]:
    """Read, merge and validate an experiment file: an experiment, or each variant of its matrix.

    Args:
        file: the experiment file.
        overrides: ``KEY=VALUE``, laid over every variant.
        only: ``AXIS=VALUE``, which variants to return.
        run_local_code: whether components may come from files of code that it names, which are executed.

    Raises:
        InputError: with every error, each with its file, line and key.
    """
    variants = _matrix.select(_matrix.expand(_toml.read(file, []), overrides, file.stem), only)
    found: list[Experiment] = []
    problems: list[str] = []
    for source in variants:
        try:
            found.append(validate_experiment(source, run_local_code=run_local_code))
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(*dict.fromkeys(problems))
    return found


def load_experiment(
    file: Path, overrides: Sequence[str] = (), only: Sequence[str] = (), *, run_local_code: bool = True
) -> Experiment:
    """Read, merge and validate the file of one experiment; see `load_experiments`.

    Raises:
        InputError: with every error, each with its file, line and key; or more than one variant is left.
    """
    first, *others = load_experiments(file, overrides, only, run_local_code=run_local_code)
    if others:
        raise InputError(
            f"{file}: its matrix has {1 + len(others)} variants, {first.name} to {others[-1].name}; choose one with "
            + " ".join(f"--only {axis}=VALUE" for axis in first.variant)
        )
    return first


def validate_experiment(source: _toml.Source, *, run_local_code: bool = True) -> Experiment:
    """Return the experiment of one variant's tables, which is what another process is sent of an experiment.

    Raises:
        InputError: with every error, each with its file, line and key.
    """
    source.table.setdefault("name", source.file.stem)
    problems: list[str] = []
    schema: ExperimentTable | None = None
    try:
        schema = registry.validate(ExperimentTable, source.table)  # type: ignore[assignment]  # of the class given
    except ValidationError as error:
        own = ["extends", "matrix"]
        problems += [describe_problem(source, (), ExperimentTable, details, own) for details in error.errors()]
    components = Components(source, problems, run_local_code=run_local_code)
    dataset: Component | JointDataset | None
    if schema is not None and isinstance(schema.dataset, list):
        dataset = find_members(components, source, problems, schema.split)
    else:
        dataset = components.find("dataset", ("dataset",))
    model = components.find("model", ("model",))
    weighting = components.find("weighting", ("weighting",), _DEFAULT_WEIGHTING)
    losses = {
        name: list(components.losses(("tasks", name, "loss"))) for name in _tables(source.table.get("tasks"))
    }
    kinds = source.table.get("losses")
    default_losses = {
        kind: list(components.losses(("losses", kind), kind))
        for kind in _DEFAULT_LOSSES
        if isinstance(kinds, dict) and kind in kinds
    }
    if problems or schema is None or dataset is None or model is None or weighting is None:
        raise InputError(*dict.fromkeys(problems))
    return Experiment(
        name=schema.name,
        description=schema.description,
        seeds=schema.seeds or [schema.seed or 0],
        dataset=dataset,
        split=schema.split,
        scaling=schema.scaling,
        model=model,
        tasks=schema.tasks,
        heads={name: task.head or schema.head for name, task in schema.tasks.items()},
        losses=losses,
        default_losses=default_losses,
        weighting=weighting,
        training=schema.training,
        transfer=schema.transfer,
        evaluation=schema.evaluation,
        source=source,
        code=tuple(components.code),
    )


def _tables_of(losses: Sequence[tuple[float, Component]]) -> list[dict[str, Any]]:
    return [{**loss.to_table(), "weight": weight} for weight, loss in losses]


def _tables(value: Any) -> list[str]:
    """Return the names of the tables in a table; anything else is the schema's to report."""
    return [name for name, table in value.items() if isinstance(table, dict)] if isinstance(value, dict) else []
