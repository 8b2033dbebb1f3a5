"""A loss: from predictions and targets to a scalar."""

from __future__ import annotations

from typing import Literal, Protocol, runtime_checkable

from torch import Tensor

__all__ = ["Loss"]


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
