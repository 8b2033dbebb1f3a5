"""The `pearson` loss."""

from __future__ import annotations

from torch import Tensor, nn

from musicemo import ops
from musicemo_builtin.losses._pairs import one_minus

__all__ = ["Pearson"]


class Pearson(nn.Module):
    """One minus Pearson's correlation of predictions and targets in a batch.

        1 - cov(p, y) / sqrt(var(p) * var(y))

    with p -> `prediction`, y -> `target`: 0 for perfect correlation, 2 for its opposite. It does not change with a
    shift or a positive scale of the predictions; combine it with a loss that does, such as `mse`. A
    constant prediction, a constant target and a batch of one have loss 1 and a zero gradient. A prediction that
    is not finite gives NaN, which stops the run.

    Shapes: `prediction` and `target` `[batch]` -> scalar.

    Raises:
        ValueError: in the call, where the shapes are not both `[batch]`, or a target is not finite.
    """

    kind = "regression"
    per = "song"

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the loss of a batch."""
        return one_minus(ops.pearson, prediction, target)
