"""The `pearson` loss."""

from __future__ import annotations

from torch import Tensor, nn

from musicemo import ops
from musicemo_builtin.losses._pairs import one_minus

__all__ = ["Pearson"]


class Pearson(nn.Module):
    """One less Pearson's correlation of a batch's predictions with its targets.

        1 - cov(p, y) / sqrt(var(p) * var(y))

    with p -> `prediction`, y -> `target`: 0 for perfect correlation, 2 for its opposite. A positive scale or a
    shift of the predictions changes nothing, so that beside another term, such as `mse`, it sets them. A
    constant prediction, a constant target and a batch of one have loss 1 and a zero gradient. A prediction that
    is not finite gives NaN, for the run to stop on.

    Shapes: `prediction` and `target` `[batch]` -> scalar.

    Raises:
        ValueError: in the call, where the shapes are not both `[batch]`, or a target is not finite.
    """

    kind = "regression"

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the loss of a batch."""
        return one_minus(ops.pearson, prediction, target)
