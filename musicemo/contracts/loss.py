"""The contract of losses."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from torch import Tensor

from musicemo.contracts.dataset import TargetKind

__all__ = ["Loss"]


@runtime_checkable
class Loss(Protocol):
    """An `nn.Module` that maps a prediction and a target to a scalar, finite for every finite input.

    - Regression: prediction and target are `[batch]`, the target scaled to [0, 1].
    - Classification: logits `[batch, classes]` and class indices `[batch]`.
    - Tags: logits `[batch, tags]` and targets `[batch, tags]`, 1 if the tag applies, 0 if not, NaN if unknown.
    - Pairs: the scores of the two tracks `[pairs, 2]`, and the number of listeners for whom each is the higher one
      `[pairs, 2]`.
    - Series: prediction and target are `[batch, time]`, the target NaN where it is not rated.

    A loss of regression with an attribute ``distribution`` (`musicemo.ops.Gaussian` or `Levels`) learns a distribution
    of the listeners' ratings: a head has ``distribution.outputs`` outputs, prediction is `[batch, outputs]`, and target
    `[batch, listeners]`, NaN where there are fewer. The distribution says how outputs become a rating, which is what
    other terms of the same task get. A loss with the attribute ``weighted = True`` takes the weights of the tracks
    `[batch]` as a third argument, if the task has weights.

    Tracks without a target are removed before the call. A loss for several kinds declares them in a tuple, such as
    ``kind = ("regression", "pairs")``. A loss is non-negative unless the class has ``may_be_negative = True``. An
    optional method ``diagnostics(prediction, target) -> dict[str, float]`` is recorded once per epoch. A loss has no
    trained parameters and is not in a checkpoint; use a weighting for trained parameters.

    A regression loss also trains series: it is called with the ratings `[ratings]` of each song, of each time step over
    the songs of the batch, or of the whole batch, and the results are averaged. ``per`` in its TOML table chooses; an
    optional class attribute ``per`` is the default, otherwise "all".
    """

    kind: TargetKind | tuple[TargetKind, ...]

    def __call__(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the loss, a scalar."""
        ...
