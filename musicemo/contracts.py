"""What a plugin author implements: a dataset, a model, a loss or a weighting.

Write the class, name it in an entry point of its group (`musicemo.datasets`, `musicemo.models`,
`musicemo.losses`, `musicemo.weightings`), and an experiment can say ``type = "its-name"``. The constructor's
signature is the configuration: every parameter is a key of the TOML table, its annotation is checked
(``Annotated[int, pydantic.Field(gt=0)]`` narrows it), its default is filled in and written beside the run, a
relative ``Path`` is taken relative to the experiment file. Parameters that the core provides are no keys:
`PROVIDED` lists them, and a constructor takes those that it names.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from musicemo.gradients import TaskGradients, WeightTrace

__all__ = [
    "FEATURE_ROWS",
    "PROVIDED",
    "Dataset",
    "Estimator",
    "Fitted",
    "GradientWeighting",
    "Loss",
    "Model",
    "Proposal",
    "Step",
    "Target",
    "Track",
    "Weighting",
]

#: Rows of a feature array of 140: mel spectrogram in dB, chromagram, or both.
FEATURE_ROWS = {"mel": slice(0, 128), "chroma": slice(128, 140), "fused": slice(0, 140)}

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


@dataclass(frozen=True, slots=True)
class Target:
    """Something that listeners rated or a catalogue says of every track."""

    name: str
    kind: Literal["regression", "classification"]
    #: Regression: lowest and highest value that a rating can have, in the dataset's own units.
    range: tuple[float, float] = (0.0, 1.0)
    #: Classification: every class that a label can have.
    classes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Track:
    """One clip: an identifier that is unique in its dataset, features, and what is known of it."""

    id: str
    #: `[rows, frames]`, in memory or as the path of a `.npy` file, which is memory-mapped.
    features: NDArray[np.floating] | Path
    #: Target name -> rating (float) or class (str). A target that is absent or None is missing.
    targets: Mapping[str, float | str | None]
    #: Artist or album: what must not stand on two sides of a grouped split.
    group: str | None = None
    #: The part that the dataset's authors put the track in.
    part: Literal["train", "val", "test"] | None = None
    #: Target name -> the single listeners' ratings, where they are known.
    ratings: Mapping[str, Sequence[float]] = field(default_factory=dict)
    #: Which of several joined datasets it is from: filled in by the core.
    source: str | None = None


@runtime_checkable
class Dataset(Protocol):
    """Declares its targets and yields its tracks.

    `rows` chooses rows of every track's features (see `FEATURE_ROWS`); the rest is never read.

    Two optional attributes let what is trained on it be applied to audio: ``sync``, what a column of the features
    is ("beat", "frame", or None for what cannot be told), and ``recipe``, the `musicemo.audio.Recipe` that they
    were made with (None: the default one).
    """

    targets: Sequence[Target]
    rows: slice

    def tracks(self) -> Iterable[Track]:
        """Yield every track, in an order that is the same each time."""
        ...


@dataclass(frozen=True, slots=True)
class Proposal:
    """What a dataset would make of a file or folder that somebody has.

    ``musicemo init PATH`` asks every dataset with a class method ``propose(path) -> Proposal | None``. A dataset that
    knows the path for its own, but cannot use it, raises an `InputError` that says why.
    """

    #: The keys of its TOML table.
    parameters: Mapping[str, Any]
    #: The tracks; their features need not be made yet and may be the audio files.
    tracks: Sequence[Track]
    #: What to learn.
    targets: Sequence[Target]
    #: What it declares and could be learnt too.
    others: Sequence[Target] = ()
    #: Key -> why it is what it is.
    comments: Mapping[str, str] = field(default_factory=dict)
    #: What was left out, and why.
    notes: Sequence[str] = ()
    #: Files that the dataset needs and that are not there: path -> text.
    files: Mapping[Path, str] = field(default_factory=dict)
    #: Whether the dataset takes anything that looks right: one whose own layout it is goes before.
    general: bool = False


@runtime_checkable
class Model(Protocol):
    """A backbone: an `nn.Module` from `x` `[batch, time, feature]` and `lengths` `[batch]` to an embedding.

    `x` is zero from each track's length on. Padding must not change an embedding in evaluation mode: a track
    gives the same one alone and in any batch. The core adds one head per task. See `Estimator` for a model that is
    not trained by gradients.
    """

    embedding_size: int

    def __call__(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Return the embedding `[batch, embedding_size]`."""
        ...


class Fitted(nn.Module):
    """A module whose buffers hold what was fitted, and on loading a state take the shapes that they have there."""

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *rest: Any) -> None:
        for name, buffer in self._buffers.items():
            if buffer is not None and isinstance(found := state_dict.get(prefix + name), Tensor):
                self._buffers[name] = buffer.new_empty(found.shape)
        super()._load_from_state_dict(state_dict, prefix, *rest)


class Estimator(Fitted):
    """A model that is fitted in one go, without gradients, and predicts every task itself: it has no heads.

    A buffer, of the estimator or of a `Fitted` within it, holds what it learns: so it is in every checkpoint, and
    its shape may depend on the data. Losses and weighting have no part in the fit, and there is one epoch.
    """

    #: Tasks whose labels the predictions rest on beside the features; where they are not known, there are none.
    given: Sequence[str] = ()

    def fit(self, tracks: Iterable[Tensor], targets: Mapping[str, Tensor]) -> None:
        """Learn from the training part.

        Args:
            tracks: the features of each, `[time, feature]`, on the CPU; read as they are asked for.
            targets: task -> `[tracks]`: ratings in [0, 1] or class indices, NaN where missing.
        """
        raise NotImplementedError(f"{type(self).__name__} does not override fit")

    def forward(self, x: Tensor, lengths: Tensor, labels: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return task -> ratings in [0, 1] `[batch]`, or logits `[batch, classes]`.

        Args:
            x: `[batch, time, feature]`, zero from each track's length on, which must not change a prediction.
            lengths: `[batch]`.
            labels: `[batch]`, of the tasks in `given`, as in `fit`.
        """
        raise NotImplementedError(f"{type(self).__name__} does not override forward")


@runtime_checkable
class Loss(Protocol):
    """An `nn.Module` from a prediction and a target to a scalar, finite for every finite input.

    Regression: both `[batch]`, the target rescaled to [0, 1]. Classification: logits `[batch, classes]` and
    class indices `[batch]`. Tracks whose target is missing are left out before. Non-negative, unless the
    class has ``may_be_negative = True``. An optional method ``diagnostics(prediction, target) -> dict[str,
    float]`` is recorded once an epoch. A loss is neither trained nor in a checkpoint: what learns is a weighting.
    """

    kind: Literal["regression", "classification"]

    def __call__(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the loss, a scalar."""
        ...


@dataclass(frozen=True, slots=True)
class Step:
    """What one optimization step offers to a weighting beside the losses."""

    #: The backbone's output `[batch, embedding]`, through which every task's gradient flows.
    embedding: Tensor
    #: Parameters of the backbone, and of each task's head, that are trained.
    shared: Sequence[nn.Parameter]
    heads: Mapping[str, Sequence[nn.Parameter]]
    #: Scales an objective before its backward pass (mixed precision); the identity otherwise.
    scale: Callable[[Tensor], Tensor]

    def gradients(self, losses: Mapping[str, Tensor]) -> TaskGradients:
        """Return every task's gradient on the shared parameters; its head's goes to `.grad`. Once a step."""
        return TaskGradients(losses, self.embedding, self.shared, self.heads, self.scale)


class Weighting(nn.Module):
    """Turns the tasks' losses into gradients.

    A loss-based weighting overrides `combine`; a gradient-based one is a `GradientWeighting`. Parameters are
    trained by the experiment's optimizer (without weight decay), and `state_dict` is in every checkpoint.
    Tasks without a label in a batch are absent from `losses`. What a class declares of itself below is what
    `musicemo.testing.check_weighting` holds it to.
    """

    #: Whether the shared parameters go the same way, if not as far, when a task's loss is multiplied by a constant.
    scale_invariant: bool = False
    #: Whether no step opposes any task's gradient on the shared parameters.
    conflict_free: bool = False
    #: Whether it is defined for losses above zero alone; a loss that may be negative is then refused.
    positive_losses: bool = False
    #: Whether it draws random numbers.
    stochastic: bool = False
    #: Whether `step_finished` wants the batch's losses under the new parameters: a forward pass more in each step.
    remeasures: bool = False

    def __init__(self, *, tasks: Sequence[str]) -> None:
        super().__init__()
        self.tasks = tuple(tasks)
        #: What the tasks weighed in the steps of this epoch.
        self.trace = WeightTrace(self.tasks)

    def combine(self, losses: Mapping[str, Tensor]) -> Tensor:
        """Return the objective, a scalar, from task -> loss."""
        raise NotImplementedError(f"{type(self).__name__} overrides neither combine nor backward")

    def backward(self, losses: Mapping[str, Tensor], step: Step) -> Tensor:
        """Accumulate gradients in the parameters' `.grad` and return the objective, a scalar.

        What a task weighs is the objective's derivative by its loss: traced here, whatever `combine` does.
        """
        traced = [loss for loss in losses.values() if loss.requires_grad]
        for loss in traced:
            loss.grad = None
            loss.retain_grad()
        objective = self.combine(losses)
        step.scale(objective).backward()  # type: ignore[no-untyped-call]  # torch leaves backward untyped
        derivatives = [loss.grad for loss in traced if loss.grad is not None]
        if len(derivatives) == len(losses):
            self.trace.add(losses, torch.stack(derivatives) / step.scale(torch.ones_like(derivatives[0])))
        return objective

    def scalars(self) -> dict[str, float]:
        """Return what to record each epoch: ``weight/<task>``, by default the epoch's mean, and other state."""
        return self.trace.means()

    @torch.no_grad()
    def step_finished(self, losses: Mapping[str, Tensor]) -> None:
        """Be told the losses of the batch after the optimizer's step: those from before it, or see `remeasures`."""

    @torch.no_grad()
    def epoch_finished(self, losses: Mapping[str, float]) -> None:
        """Be told each task's training loss over the epoch."""


class GradientWeighting(Weighting):
    """Turns the tasks' gradients on the shared parameters into one; each head follows its own task's.

    Override `weigh`, or `aggregate` for a direction that is no weighted sum. Neither sees mixed precision's scale,
    a gradient that is not finite or gradients that are all zero, and neither is called if nothing shared is trained.
    """

    def weigh(self, gradients: Tensor, tasks: Sequence[str]) -> Tensor:
        """Return a weight per task `[tasks]` from their gradients `[tasks, parameters]`."""
        raise NotImplementedError(f"{type(self).__name__} overrides neither weigh nor aggregate")

    def aggregate(self, gradients: Tensor, tasks: Sequence[str]) -> Tensor:
        """Return one gradient `[parameters]` from the tasks' `[tasks, parameters]`."""
        weights = self.weigh(gradients, tasks)
        self.trace.add(tasks, weights)
        return weights @ gradients

    def backward(self, losses: Mapping[str, Tensor], step: Step) -> Tensor:
        """Accumulate gradients in the parameters' `.grad` and return the losses' sum."""
        found = step.gradients(losses)
        if found.rows.numel():
            low, high = torch.aminmax(found.rows.detach())
            peak = float(torch.maximum(high, -low))
            usable = 0 < peak < math.inf  # of what is not finite, the sum is not either: the step is not taken
            with torch.no_grad():
                found.accumulate(self.aggregate(found.rows, tuple(losses)) if usable else found.rows.sum(dim=0))
        return torch.stack(list(losses.values())).sum().detach()
