"""A validated experiment, and its resolved form."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from musicemo import toml
from musicemo.components.local import LocalCode
from musicemo.components.spec import Component, default_component, plain
from musicemo.contracts import Dataset
from musicemo.data import HeadSettings, ScalingSettings, SplitSettings, Task, TaskSettings
from musicemo.evaluation import EvaluationSettings
from musicemo.experiment.datasets import JointDataset
from musicemo.experiment.schema import DEFAULT_LOSSES
from musicemo.training import TrainingSettings, TransferSettings

__all__ = ["Experiment"]


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
    source: toml.Source
    #: The files of code that the experiment names, as they were executed.
    code: Sequence[LocalCode] = ()

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
    def splits(self) -> Mapping[str, tuple[toml.Key, SplitSettings]]:
        """Where the split of each of several datasets is written, and what it is; of one, under an empty name."""
        if isinstance(self.dataset, Component):
            return {"": (("split",), self.split)}
        return self.dataset.splits(self.split)

    @property
    def proportions(self) -> Mapping[str, float]:
        """Dataset -> its part of what is drawn to train on; empty where each track comes once an epoch."""
        members = [] if isinstance(self.dataset, Component) else self.dataset.members
        return {member.name: share for member in members if (share := member.settings.proportion) is not None}

    @property
    def unchecked(self) -> Sequence[str]:
        """The names of components in files that were not executed and whose source does not tell their parameters."""
        losses = [term for terms in (*self.losses.values(), *self.default_losses.values()) for _, term in terms]
        components = [*self.datasets.values(), self.model, self.weighting, *losses]
        return list(dict.fromkeys(one.name for one in components if one.factory is None and not one.checked))

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
            or [(1.0, default_component("loss", DEFAULT_LOSSES[task.kind]))]
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


def _tables_of(losses: Sequence[tuple[float, Component]]) -> list[dict[str, Any]]:
    return [{**loss.to_table(), "weight": weight} for weight, loss in losses]
