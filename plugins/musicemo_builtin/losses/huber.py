"""The `huber` loss."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from musicemo_builtin.losses._pairs import check_pair, weighted_mean

__all__ = ["Huber"]


class Huber(nn.Module):
    """Huber loss: squared error up to `delta`, absolute error beyond.

        (1/n) sum_i h(p_i - y_i),   h(d) = d^2 / 2                     where |d| <= delta
                                           delta * (|d| - delta / 2)   elsewhere

    with p -> `prediction`, y -> `target`, n the batch size. For `delta` >= 1 it is half of `mse`, because
    targets are in [0, 1]; the default is smaller.

    Shapes: `prediction` and `target` `[batch]` -> scalar. With `weight` `[batch]`: the weight of each track.

    P. J. Huber, "Robust Estimation of a Location Parameter", Annals of Mathematical Statistics, 1964.

    Args:
        delta: Error at which the loss becomes linear, in units of the target's range.

    Raises:
        ValueError: in the call, where the shapes are not both `[batch]`; nothing is broadcast.
    """

    kind = "regression"
    weighted = True

    def __init__(self, *, delta: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.1) -> None:
        super().__init__()
        self.delta = delta

    def forward(self, prediction: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """Return the loss of a batch."""
        prediction, target = check_pair(prediction, target)
        return weighted_mean(
            nn.functional.huber_loss(prediction, target, delta=self.delta, reduction="none"), weight
        )

    def extra_repr(self) -> str:
        """Describe the constructor's arguments."""
        return f"delta={self.delta}"
