"""The `ranknet` loss."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from musicemo_builtin.losses._pairs import check_pair

__all__ = ["RankNet"]

#: Pairs that are compared at once, of a whole set.
_AT_ONCE = 4_000_000


class RankNet(nn.Module):
    """Logistic loss of all pairs of tracks in a batch: the probability of the right order.

        mean over pairs (i, j) with y[i] - y[j] > min_difference of log(1 + exp(-scale (p[i] - p[j])))

    with p -> `prediction` and y -> `target`. Only differences of predictions matter, so the level of the ratings is not
    learned: combine it with `mse` if it is needed. A batch without such a pair has the loss 0 and no gradient.

    C. Burges, T. Shaked, E. Renshaw, A. Lazier, M. Deeds, N. Hamilton, G. Hullender, "Learning to Rank using Gradient
    Descent", ICML 2005. Deviation: all pairs of the batch have the same weight, and ties are left out.

    Shapes: `prediction` and `target` `[batch]` -> scalar.

    Args:
        scale: Factor of the differences of predictions, which are near [0, 1]. A larger one stops earlier to push apart
            what is in the right order.
        min_difference: Difference of two targets in [0, 1] up to which they count as tied.

    Raises:
        ValueError: in the call, if the shapes are not those above.
    """

    kind = "regression"

    def __init__(
        self,
        *,
        scale: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 10.0,
        min_difference: Annotated[float, Field(ge=0, lt=1)] = 0.0,
    ) -> None:
        super().__init__()
        self.scale, self.min_difference = scale, min_difference

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the loss of a batch."""
        prediction, target = check_pair(prediction, target)
        rows = max(1, _AT_ONCE // len(target))
        total, pairs = prediction.sum() * 0, target.new_zeros(())
        for higher, above in zip(torch.split(prediction, rows), torch.split(target, rows), strict=True):
            ordered = above[:, None] - target > self.min_difference
            differences = self.scale * (higher[:, None] - prediction)
            total = total + nn.functional.softplus(-differences).masked_fill(~ordered, 0).sum()
            pairs = pairs + ordered.sum()
        return total / pairs.clamp(min=1)

    def extra_repr(self) -> str:
        """Describe the parameters."""
        return f"scale={self.scale}, min_difference={self.min_difference}"
