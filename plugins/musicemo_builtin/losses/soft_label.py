"""The `soft-label` loss."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from musicemo.ops import Levels
from musicemo_builtin.losses._listeners import check_listeners
from musicemo_builtin.losses._pairs import weighted_mean

__all__ = ["SoftLabel"]


class SoftLabel(nn.Module):
    """Cross-entropy of the listeners' ratings over levels of the scale.

        mean over tracks i of - sum_k q[i, k] log softmax(p[i])[k]

    with p -> `prediction` and q[i, k] the share of the track's listeners at level k. The levels are equally spaced,
    from the lowest possible rating to the highest. A rating between two levels counts for both, in proportion to its
    nearness. The prediction of a rating is the mean of the predicted distribution. Where single ratings are not known,
    the track's rating is taken for the only one.

    B.-B. Gao, C. Xing, C.-W. Xie, J. Wu and X. Geng, "Deep Label Distribution Learning with Label Ambiguity", IEEE
    Transactions on Image Processing 26(6), 2017.

    Shapes: `prediction` `[batch, levels]`, `target` `[batch, listeners]`, NaN where there are fewer -> scalar. With
    `weight` `[batch]`: the weight of each track.

    Args:
        levels: Number of levels: that of the scale, such as 9 for ratings from 1 to 9, or 2 for yes and no.

    Raises:
        ValueError: in the call, if the shapes are not those above or a track has no rating.
    """

    kind = "regression"
    weighted = True

    def __init__(self, *, levels: Annotated[int, Field(ge=2, le=1000)] = 11) -> None:
        super().__init__()
        self.distribution = Levels(levels)

    def forward(self, prediction: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """Return the loss of a batch."""
        prediction, target = check_listeners(prediction, target, self.distribution.outputs)
        shares = self.distribution.shares(target)
        return weighted_mean(-(shares * prediction.log_softmax(dim=1)).sum(dim=1), weight)

    def extra_repr(self) -> str:
        """Describe the parameters."""
        return f"levels={self.distribution.levels}"
