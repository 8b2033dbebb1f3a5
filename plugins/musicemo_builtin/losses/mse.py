"""The `mse` loss."""

from __future__ import annotations

from torch import Tensor, nn

from musicemo_builtin.losses._pairs import check_pair, weighted_mean

__all__ = ["MSE"]


class MSE(nn.Module):
    """Mean squared error.

        (1/n) sum_i (p_i - y_i)^2

    with p -> `prediction`, y -> `target`, n the batch size. The best constant prediction is the mean.

    Shapes: `prediction` and `target` `[batch]` -> scalar. With `weight` `[batch]`: the weight of each track.

    Raises:
        ValueError: in the call, where the shapes are not both `[batch]`; nothing is broadcast.
    """

    kind = "regression"
    weighted = True

    def forward(self, prediction: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """Return the loss of a batch."""
        prediction, target = check_pair(prediction, target)
        return weighted_mean(nn.functional.mse_loss(prediction, target, reduction="none"), weight)
