"""The schema of an experiment file."""

from __future__ import annotations

import unicodedata
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from musicemo.data import HeadSettings, ScalingSettings, SplitSettings, TaskSettings
from musicemo.evaluation import EvaluationSettings
from musicemo.settings import Settings
from musicemo.training import TrainingSettings, TransferSettings

__all__ = ["DEFAULT_LOSSES", "DEFAULT_OPTIMIZER", "DEFAULT_WEIGHTING", "ExperimentTable"]

#: The files of a run, such as ``best-<task>.pt``, are called by its tasks; file systems allow 255 bytes.
_Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$", max_length=100)]

#: What every random number generator takes.
_Seed = Annotated[int, Field(ge=0, lt=2**32)]

#: What a target can be.
TargetKind = Literal["regression", "classification"]

#: A loss, or a list of weighted terms.
_Loss = dict[str, Any] | Annotated[list[dict[str, Any]], Field(min_length=1)]

#: The components of a file that names no weighting, no optimizer, or no loss of a task.
DEFAULT_WEIGHTING = {"type": "constant"}
DEFAULT_OPTIMIZER = TrainingSettings().optimizer.type
DEFAULT_LOSSES = {"regression": "mse", "classification": "cross-entropy"}


class ExperimentTable(Settings):
    """The file as a whole; components are validated against their own signatures."""

    #: The experiment's name, and that of its folder in ``runs``; the file's where absent.
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=200)]
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
    weighting: dict[str, Any] = Field(default_factory=lambda: dict(DEFAULT_WEIGHTING))
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

    @field_validator("description")
    @classmethod
    def _printable(cls, text: str) -> str:
        if any(unicodedata.category(char) in ("Cc", "Cs") and char not in "\n\t" for char in text):
            raise ValueError("must not hold control characters other than line feeds and tabs")
        return text

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
