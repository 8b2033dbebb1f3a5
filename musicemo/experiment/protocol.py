"""Protocols: published experiments on a dataset, with their split, their metrics and the results to compare with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, ValidationInfo, field_validator

from musicemo import toml
from musicemo.components.checks import protocol_file
from musicemo.components.lookup import describe_problem
from musicemo.components.spec import Component
from musicemo.data import SplitSettings, TaskSettings
from musicemo.errors import InputError, nearest
from musicemo.evaluation import SCORES
from musicemo.experiment.datasets import JointDataset, Member
from musicemo.experiment.features import FeatureTable
from musicemo.settings import Settings, validate

__all__ = ["Protocol", "ProtocolTable", "load_protocol"]

_Text = Annotated[str, Field(min_length=1)]
_Hash = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]

#: Keys of ``[split]`` that only matter for the validation set. They are free if the protocol has none.
_OF_VALIDATION = ("validation", "draw", "stratify", "bins")

_FREE = "Use this value, or train without the protocol"


class ProtocolSet(Settings):
    """One set of a protocol's split."""

    tracks: int = Field(gt=0)
    """Number of tracks."""
    hash: _Hash | list[_Hash] | None = None
    """SHA-256 of the set's ids, as in the ``split.json`` of a run; with k-fold one for each fold. Without it, only the
    number of tracks is compared.
    """


class Published(Settings):
    """A published result."""

    system: _Text
    """Name of the system."""
    source: _Text
    """Publication of the result: a key of ``sources``."""
    scores: dict[str, dict[str, float]]
    """Task -> metric -> value, as a fraction and not in percent."""
    deviations: dict[str, dict[str, float]] = Field(default_factory=dict)
    """Task -> metric -> standard deviation over the songs."""
    caveat: str = ""
    """Reason why the result is not comparable with others of the protocol."""


class ProtocolTable(Settings):
    """The table ``[protocol]`` of a protocol file. The other tables are those of an experiment."""

    title: _Text
    """What is measured, in a few words."""
    reference: _Text
    """Publication that defines the protocol."""
    split: _Text
    """The rule by which the split is drawn, and its source."""
    segments: _Text
    """Parts of a track that are analyzed, and how their predictions become that of the track."""
    metrics: dict[str, Annotated[list[str], Field(min_length=1)]] = Field(min_length=1)
    """Task -> metrics to compare."""
    average: Literal["tracks", "folds"] = "tracks"
    """k-fold: metrics of all folds' predictions together (``tracks``), or the mean of the folds' metrics."""
    sets: dict[Literal["train", "val", "test"], ProtocolSet]
    """The sets that are compared with the protocol's. Without a validation set, the training set includes the tracks
    that an experiment validates on.
    """
    sources: dict[str, _Text]
    """Key -> publication, with its table or address."""
    published: list[Published] = Field(min_length=1)
    """The published results."""

    @field_validator("metrics")
    @classmethod
    def _metrics(cls, metrics: dict[str, list[str]]) -> dict[str, list[str]]:
        for name in (name for names in metrics.values() for name in names):
            if name not in SCORES:
                raise ValueError(
                    f"{name!r} is not a metric{nearest(name, SCORES)} (allowed: {', '.join(SCORES)})"
                )
        return metrics

    @field_validator("sets")
    @classmethod
    def _test_set(cls, sets: dict[str, ProtocolSet]) -> dict[str, ProtocolSet]:
        if "test" not in sets:
            raise ValueError("must have a table test")
        return sets

    @field_validator("published")
    @classmethod
    def _of_the_metrics(cls, published: list[Published], info: ValidationInfo) -> list[Published]:
        metrics, sources = (info.data.get(name) or {} for name in ("metrics", "sources"))
        for row in published:
            if row.source not in sources:
                raise ValueError(
                    f"the result of {row.system}: {row.source!r} is not a source{nearest(row.source, sources)} "
                    f"(sources: {', '.join(sources)})"
                )
            pairs = [
                (task, metric)
                for numbers in (row.scores, row.deviations)
                for task, scores in numbers.items()
                for metric in scores
            ]
            if unknown := [pair for pair in pairs if pair[1] not in metrics.get(pair[0], ())]:
                raise ValueError(
                    f"the result of {row.system}: {' '.join(unknown[0])} is not among the metrics of the protocol"
                )
        return published


@dataclass(frozen=True)
class Protocol:
    """A protocol of an installed package."""

    name: str
    table: ProtocolTable
    split: SplitSettings
    tasks: Mapping[str, TaskSettings]
    #: The experiment that it is by default, as it is written.
    source: toml.Source

    @property
    def experiment(self) -> Mapping[str, Any]:
        """The tables of the experiment."""
        return self.source.table

    @property
    def dataset(self) -> str:
        """The name of the dataset."""
        return str(self.experiment["dataset"]["type"])

    def member(self, dataset: Component | JointDataset) -> Member | None:
        """Return which of several joined datasets is the protocol's; None if there is one dataset only, or none."""
        members = [] if isinstance(dataset, Component) else dataset.members
        fitting = [one for one in members if one.component.name == self.dataset]
        return fitting[0] if len(fitting) == 1 else None

    def breaches(
        self,
        dataset: Component | JointDataset,
        split: SplitSettings,
        tasks: Mapping[str, TaskSettings],
        source: toml.Source,
    ) -> list[str]:
        """Return the reasons why an experiment is not one under the protocol, each with its file, line and key.

        Of several joined datasets, one must be the protocol's.
        """
        wrong: list[tuple[toml.Key, object, object]] = []
        missing: list[str] = []
        place: toml.Key = ("dataset",)
        split_place: toml.Key = ("split",)
        member = self.member(dataset)
        if isinstance(dataset, JointDataset):
            if member is None:
                types = ", ".join(one.component.name for one in dataset.members)
                text = (
                    f"must have {self.dataset!r} once under the protocol {self.name!r} (datasets: {types}). Use it "
                    "once, or train without the protocol"
                )
                return [source.error(place, text)]
            place = ("dataset", dataset.members.index(member))
            split_place, split = dataset.splits(split)[member.name]
        component = dataset if isinstance(dataset, Component) else member.component if member else None
        written = component.to_table() if component else {}
        wrong += [
            ((*place, key), value, written.get(key))
            for key, value in self.experiment["dataset"].items()
            if written.get(key) != value
        ]
        free = ("fold", *(() if "val" in self.table.sets else _OF_VALIDATION))
        wrong += [
            ((*split_place, key), value, other)
            for key in SplitSettings.model_fields
            if key not in free and (value := _effective(self.split, key)) != (other := _effective(split, key))
        ]
        for name, task in self.tasks.items():
            if name not in tasks:
                missing.append(
                    f"must have the task {name!r} under the protocol {self.name!r} (tasks: {', '.join(tasks)}). Add "
                    f"[tasks.{name}], or train without the protocol"
                )
                continue
            target = tasks[name].target
            if member and isinstance(target, dict):
                target = target.get(member.name, "")
            pairs = {
                "target": (task.target or name, name if target is None else target or None),
                "classes": (task.classes, tasks[name].classes),
                # The ratings of joined datasets may be on a common scale.
                **({} if member else {"range": (task.range, tasks[name].range)}),
            }
            wrong += [(("tasks", name, key), *pair) for key, pair in pairs.items() if pair[0] != pair[1]]
        return [
            source.error(
                key,
                f"must be {_shown(value)} under the protocol {self.name!r}, not {_shown(other)}. {_FREE}",
            )
            for key, value, other in wrong
        ] + [source.error(("tasks",), text) for text in missing]

    def deviations(self, features: Sequence[FeatureTable]) -> list[str]:
        """Return how the features differ from the protocol's: other segments, for example."""
        written = self.experiment.get("features", {})
        return [
            f"features.{key} is {_shown(used)}, and {_shown(value)} in the protocol"
            for table in features
            for key, value in written.items()
            if key != "type" and (used := table.to_table().get(key)) != value
        ]

    def to_json(self) -> dict[str, Any]:
        """Return what a run records of it, so that its report shows the published results."""
        kept = {"title", "reference", "segments", "metrics", "average", "sources", "published"}
        return {"name": self.name, **self.table.model_dump(include=kept)}


def load_protocol(name: str) -> Protocol:
    """Return an installed protocol.

    Raises:
        InputError: no package has it, or its file is not valid; with every error, each with its line and key.
    """
    path = protocol_file(name)
    source = toml.read(path, [])
    table = source.table.get("protocol")
    if not isinstance(table, dict):
        raise InputError(f"{path}: needs a table [protocol]")
    problems: list[str] = []
    try:
        validated = validate(ProtocolTable, table)
    except ValidationError as error:
        problems = [describe_problem(source, ("protocol",), ProtocolTable, one) for one in error.errors()]
        raise InputError(*problems) from error
    dataset = source.table.get("dataset")
    if not isinstance(dataset, dict) or not isinstance(dataset.get("type"), str):
        problems.append(f"{path}: needs a table [dataset] with a type")
    tables: dict[toml.Key, tuple[type[Settings], Any]] = {
        ("split",): (SplitSettings, source.table.get("split", {}))
    }
    tasks = source.table.get("tasks")
    tasks = tasks if isinstance(tasks, dict) else {}
    tables |= {("tasks", task): (TaskSettings, table) for task, table in tasks.items()}
    settings: dict[toml.Key, Any] = {}
    for key, (model, inner) in tables.items():
        try:
            settings[key] = validate(model, inner)
        except ValidationError as error:
            problems += [describe_problem(source, key, model, one) for one in error.errors()]
    problems += [
        source.error(
            ("protocol", "metrics", task), f"is not a task{nearest(task, tasks)} (tasks: {', '.join(tasks)})"
        )
        for task in validated.metrics
        if task not in tasks
    ]
    if problems:
        raise InputError(*problems)
    split: SplitSettings = settings.pop(("split",))
    folds = split.folds if split.method == "kfold" else 1
    hashes = validated.sets["test"].hash
    if hashes is not None and (len(hashes) if isinstance(hashes, list) else 1) != folds:
        text = f"must be {'a list of ' * (folds > 1)}{folds} hash{'es, one for each fold' * (folds > 1)}"
        raise InputError(source.error(("protocol", "sets", "test", "hash"), text))
    source.drop("protocol")
    return Protocol(name, validated, split, {str(task): one for (_, task), one in settings.items()}, source)


def _effective(split: SplitSettings, key: str) -> object:
    """Return the value of a key, or its default."""
    return split.validation_share if key == "validation" else getattr(split, key)


def _shown(value: object) -> str:
    """Return a value as it is written in TOML, and a phrase as it is."""
    if isinstance(value, str) and " " in value:
        return value
    return "absent" if value is None else toml.inline(value)
