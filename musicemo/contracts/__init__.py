"""Contracts for plugin authors: one file for each kind of component, from datasets to launchers.

Write a class and name it in an entry point of its group (`musicemo.datasets`, `musicemo.features`,
`musicemo.augmentations`, `musicemo.models`, `musicemo.sharings`, `musicemo.losses`, `musicemo.weightings`,
`musicemo.launchers`). An experiment then uses it with ``type = "its-name"``.

The constructor's signature is the configuration schema. Every parameter is a key of the TOML table. Values are
validated against the annotation (``Annotated[int, pydantic.Field(gt=0)]`` restricts them), defaults are recorded
with the run, and a relative ``Path`` is relative to the experiment file. `PROVIDED` lists the parameters that the
core passes; they are not keys, and a constructor names those that it needs.
"""

from typing import TYPE_CHECKING

from musicemo._lazy import lazy
from musicemo.contracts.dataset import (
    FEATURE_ROWS,
    TARGET_KINDS,
    ArrayFile,
    Dataset,
    FeatureArray,
    Judgement,
    Label,
    Layout,
    Per,
    Proposal,
    Series,
    Signal,
    Target,
    TargetKind,
    Track,
    find_layout,
    kinds_of,
)
from musicemo.contracts.features import ArrayReader, Bands, Extraction, FeatureExtractor, Output
from musicemo.contracts.launcher import Launcher, Needs
from musicemo.contracts.nested import ComponentTable, NestedComponent

if TYPE_CHECKING:
    from musicemo.contracts.augmentation import Augmentation, Examples, FeatureRows, Labels
    from musicemo.contracts.gradients import TaskGradients
    from musicemo.contracts.loss import Loss
    from musicemo.contracts.model import Estimator, Fitted, Model
    from musicemo.contracts.sharing import Sharing, TaskModules
    from musicemo.contracts.weighting import GradientWeighting, Step, Weighting

__all__ = [
    "FEATURE_ROWS",
    "PROVIDED",
    "TARGET_KINDS",
    "ArrayFile",
    "ArrayReader",
    "Augmentation",
    "Bands",
    "ComponentTable",
    "Dataset",
    "Estimator",
    "Examples",
    "Extraction",
    "FeatureArray",
    "FeatureExtractor",
    "FeatureRows",
    "Fitted",
    "GradientWeighting",
    "Judgement",
    "Label",
    "Labels",
    "Launcher",
    "Layout",
    "Loss",
    "Model",
    "Needs",
    "NestedComponent",
    "Output",
    "Per",
    "Proposal",
    "Series",
    "Sharing",
    "Signal",
    "Step",
    "Target",
    "TargetKind",
    "TaskGradients",
    "TaskModules",
    "Track",
    "Weighting",
    "find_layout",
    "kinds_of",
]

#: Constructor parameters that the core passes, by kind of component.
PROVIDED: dict[str, dict[str, str]] = {
    "dataset": {},
    "features": {},
    "augmentation": {"rows": "FeatureRows: the feature rows, and what the extractors declare of them"},
    "model": {
        "input_size": "int: number of feature rows",
        "streams": "Mapping[str, slice]: name of a feature stream -> its rows; 'features' if there is one",
        "targets": "Sequence[Target]: targets of the tasks; ratings are in [0, 1]",
    },
    "sharing": {
        "tasks": "Sequence[str]: names of the tasks, in the order of the experiment",
        "embedding_size": "int: size of the embedding",
    },
    "loss": {
        "class_counts": "dict[str, int]: class -> number of training tracks, in the order of the logits",
        "tag_counts": "dict[str, tuple[int, int]]: tag -> number of training tracks with it and of those without it, "
        "in the order of the logits",
    },
    "weighting": {"tasks": "Sequence[str]: names of the tasks, in the order of the experiment"},
    "launcher": {},
    "plugin": {},
}

#: These import torch, which neither a dataset nor a feature extractor needs.
__getattr__ = lazy(
    __name__,
    {
        "TaskGradients": "musicemo.contracts.gradients",
        "Loss": "musicemo.contracts.loss",
        **dict.fromkeys(
            ("Augmentation", "Examples", "FeatureRows", "Labels"), "musicemo.contracts.augmentation"
        ),
        **dict.fromkeys(("Estimator", "Fitted", "Model"), "musicemo.contracts.model"),
        **dict.fromkeys(("Sharing", "TaskModules"), "musicemo.contracts.sharing"),
        **dict.fromkeys(("GradientWeighting", "Step", "Weighting"), "musicemo.contracts.weighting"),
    },
)
