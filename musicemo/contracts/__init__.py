"""What a plugin author implements: a dataset, a model, a loss or a weighting.

Write the class, name it in an entry point of its group (`musicemo.datasets`, `musicemo.models`,
`musicemo.losses`, `musicemo.weightings`), and an experiment can say ``type = "its-name"``. The constructor's
signature is the configuration: every parameter is a key of the TOML table, its annotation is checked
(``Annotated[int, pydantic.Field(gt=0)]`` narrows it), its default is filled in and written beside the run, a
relative ``Path`` is taken relative to the experiment file. Parameters that the core provides are no keys:
`PROVIDED` lists them, and a constructor takes those that it names.
"""

from musicemo.contracts.dataset import (
    FEATURE_ROWS,
    Dataset,
    Orientation,
    Proposal,
    Target,
    Track,
    check_orientation,
)
from musicemo.contracts.loss import Loss
from musicemo.contracts.model import Estimator, Fitted, Model
from musicemo.contracts.weighting import GradientWeighting, Step, Weighting

__all__ = [
    "FEATURE_ROWS",
    "PROVIDED",
    "Dataset",
    "Estimator",
    "Fitted",
    "GradientWeighting",
    "Loss",
    "Model",
    "Orientation",
    "Proposal",
    "Step",
    "Target",
    "Track",
    "Weighting",
    "check_orientation",
]

#: Constructor parameters that the core fills in, by kind of component.
PROVIDED: dict[str, dict[str, str]] = {
    "dataset": {},
    "model": {
        "input_size": "int: number of feature rows",
        "targets": "Sequence[Target]: what is to be predicted, a task each; ratings lie in [0, 1]",
    },
    "loss": {"class_counts": "dict[str, int]: class -> training tracks, in the order of the logits"},
    "weighting": {"tasks": "Sequence[str]: names of the tasks, in the experiment's order"},
}
