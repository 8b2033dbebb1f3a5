"""The schema of an experiment file."""

from __future__ import annotations

import unicodedata
from typing import Annotated, Any

from pydantic import Field, ValidationInfo, field_validator, model_validator

from musicemo.contracts import TargetKind
from musicemo.data import HeadSettings, ScalingSettings, SplitSettings, TaskSettings
from musicemo.evaluation import EvaluationSettings
from musicemo.experiment.distillation import DistillationSettings
from musicemo.experiment.ensemble import EnsembleSettings
from musicemo.settings import Settings
from musicemo.training import PretrainingSettings, TrainingSettings, TransferSettings

__all__ = [
    "DEFAULT_LAUNCHER",
    "DEFAULT_LOSSES",
    "DEFAULT_OPTIMIZER",
    "DEFAULT_SHARING",
    "DEFAULT_WEIGHTING",
    "ExperimentTable",
    "TaskName",
]

#: The files of a run, such as ``best-<task>.pt``, are called by its tasks; file systems allow 255 bytes.
TaskName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$", max_length=100)]

#: What every random number generator takes.
_Seed = Annotated[int, Field(ge=0, lt=2**32)]

#: A loss, or a list of weighted terms.
_Loss = dict[str, Any] | Annotated[list[dict[str, Any]], Field(min_length=1)]

#: The components of a file that names no sharing, no weighting, no launcher, no optimizer, or no loss of a task.
DEFAULT_SHARING = {"type": "hard"}
DEFAULT_WEIGHTING = {"type": "constant"}
DEFAULT_LAUNCHER = {"type": "local"}
DEFAULT_OPTIMIZER = TrainingSettings().optimizer.type
DEFAULT_LOSSES: dict[TargetKind, str] = {
    "regression": "mse",
    "classification": "cross-entropy",
    "tags": "bce",
    "series": "mse",
    "pairs": "ranknet",
}


class ExperimentTable(Settings):
    """An experiment file. Components are validated against their own signatures."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=200)]
    """Name of the experiment and of its folder in ``runs``. The default is the name of the file."""
    description: str = ""
    """Short description of the experiment."""
    protocol: Annotated[str, Field(min_length=1)] | None = None
    """Published protocol that the experiment follows, see ``musicemo bench list``. Its split and its targets are
    required, and the results are reported beside the published ones.
    """
    seed: _Seed | None = None
    """Seed of the initial weights and the batch order. The split has its own (``split.seed``)."""
    seeds: list[_Seed] | None = Field(default=None, min_length=1)
    """Seeds of the replicates, one run for each. Replaces ``seed``."""
    dataset: dict[str, Any] | list[dict[str, Any]]
    """Dataset of the tracks. An array of tables joins several datasets."""
    features: dict[str, Any] | list[dict[str, Any]] | None = None
    """Features of the tracks. An array of tables concatenates several streams on one time grid."""
    augment: list[dict[str, Any]] = Field(default_factory=list)
    """Random changes of the training examples, in the order of their application."""
    split: SplitSettings = SplitSettings()
    """Split of the tracks into training, validation and test set."""
    scaling: ScalingSettings = ScalingSettings()
    """Scaling of the features."""
    model: dict[str, Any]
    """Backbone, shared by all tasks."""
    sharing: dict[str, Any] = Field(default_factory=lambda: dict(DEFAULT_SHARING))
    """Architecture between the backbone and the heads, which decides what the tasks share."""
    head: HeadSettings = HeadSettings()
    """Layers between the backbone and the prediction of each task."""
    losses: dict[TargetKind, _Loss] = Field(default_factory=dict)
    """Default loss for each kind of target."""
    tasks: dict[TaskName, TaskSettings] = Field(min_length=1)
    """Targets to predict, with a table for each."""
    weighting: dict[str, Any] = Field(default_factory=lambda: dict(DEFAULT_WEIGHTING))
    """Combination of the losses of the tasks into one gradient."""
    training: TrainingSettings = TrainingSettings()
    """Optimizer, schedule, batches and early stopping."""
    transfer: TransferSettings | None = None
    """Weights of an earlier run to start from."""
    pretraining: PretrainingSettings | None = None
    """Training of the backbone without labels, before the tasks are learned."""
    distillation: DistillationSettings | None = None
    """Predictions of a model that is fitted in one go, which the network learns beside the labels."""
    launcher: dict[str, Any] = Field(default_factory=lambda: dict(DEFAULT_LAUNCHER))
    """Where and how many runs are executed at a time. The results do not depend on it."""
    plugins: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Lifecycle plugins, such as trackers, with a table for each. The results do not depend on them."""
    evaluation: EvaluationSettings = EvaluationSettings()
    """Confidence intervals and further evaluation options."""
    ensemble: EnsembleSettings | None = None
    """Mean of the predictions of several runs as a further result."""

    @field_validator("dataset", "features", mode="before")
    @classmethod
    def _one_or_several(cls, tables: Any, field: ValidationInfo) -> Any:
        if isinstance(tables, dict) or (
            isinstance(tables, list) and tables and all(isinstance(table, dict) for table in tables)
        ):
            return tables
        raise ValueError(
            "must be a table" + f", or several as [[{field.field_name}]]" * isinstance(tables, list)
        )

    @field_validator("augment", mode="before")
    @classmethod
    def _several(cls, tables: Any) -> Any:
        if isinstance(tables, list) and all(isinstance(table, dict) for table in tables):
            return tables
        raise ValueError("must be a list of tables, [[augment]]")

    @field_validator("description")
    @classmethod
    def _printable(cls, text: str) -> str:
        if any(unicodedata.category(char) in ("Cc", "Cs") and char not in "\n\t" for char in text):
            raise ValueError("must not contain control characters other than line feeds and tabs")
        return text

    @field_validator("seeds")
    @classmethod
    def _each_once(cls, seeds: list[int] | None) -> list[int] | None:
        if seeds and len(set(seeds)) < len(seeds):
            raise ValueError("must not contain duplicates")
        return seeds

    @model_validator(mode="after")
    def _one_of_seed_and_seeds(self) -> ExperimentTable:
        if self.seed is not None and self.seeds is not None:
            raise ValueError("seed and seeds cannot both be set")
        return self
