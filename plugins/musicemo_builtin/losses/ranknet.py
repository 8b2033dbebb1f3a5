"""The `ranknet` loss."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from musicemo_builtin.losses._pairs import check_pair, single

__all__ = ["RankNet"]

#: Pairs that are compared at once, of a whole set.
_AT_ONCE = 4_000_000


class RankNet(nn.Module):
    """Logistic loss of pairs of tracks: the probability of the right order.

    For ratings, it takes all pairs of a batch that their ratings order:

        mean over pairs (i, j) with y[i] - y[j] > min_difference of log(1 + exp(-scale (p[i] - p[j])))

    with p -> `prediction` and y -> `target`. Only differences of predictions matter, so the level of the ratings is not
    learned: combine it with `mse` if it is needed. A batch without such a pair has the loss 0 and no gradient.

    For pairs that listeners have judged, each listener is a term:

        sum over pairs k of n[k, 0] log(1 + exp(-scale d[k])) + n[k, 1] log(1 + exp(scale d[k])), divided by sum n

    with d[k] the difference of the scores of the two tracks and n[k] the number of listeners for whom the first and the
    second is higher. The probability that a listener judges a track higher is then the logistic function of the scaled
    difference (R. A. Bradley and M. E. Terry, "Rank Analysis of Incomplete Block Designs", Biometrika 39, 1952).

    C. Burges, T. Shaked, E. Renshaw, A. Lazier, M. Deeds, N. Hamilton, G. Hullender, "Learning to Rank using Gradient
    Descent", ICML 2005. Deviation: all pairs of the batch have the same weight, and tied ratings are left out.

    Shapes: `prediction` and `target` `[batch]`, or `[pairs, 2]` scores and numbers of listeners -> scalar.

    Args:
        scale: Factor of the differences of predictions, which are near [0, 1]. A larger one stops earlier to push apart
            what is in the right order.
        min_difference: Ratings: difference of two targets in [0, 1] up to which they count as tied.

    Raises:
        ValueError: in the call, if the shapes are not those above.
    """

    kind = ("regression", "pairs")
    per = "step"

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
        if target.dim() == 2:
            return self._judged(prediction, target)
        prediction, target = check_pair(prediction, target)
        rows = max(1, _AT_ONCE // len(target))
        total, pairs = prediction.sum() * 0, target.new_zeros(())
        for higher, above in zip(torch.split(prediction, rows), torch.split(target, rows), strict=True):
            ordered = above[:, None] - target > self.min_difference
            differences = self.scale * (higher[:, None] - prediction)
            total = total + nn.functional.softplus(-differences).masked_fill(~ordered, 0).sum()
            pairs = pairs + ordered.sum()
        return total / pairs.clamp(min=1)

    def _judged(self, scores: Tensor, listeners: Tensor) -> Tensor:
        if scores.shape != listeners.shape or listeners.shape[1:] != (2,) or not len(listeners):
            raise ValueError(
                f"prediction {list(scores.shape)} and target {list(listeners.shape)} must both be [pairs, 2], pairs > 0"
            )
        scores = single(scores)
        listeners = listeners.to(scores.dtype)
        differences = self.scale * (scores - scores.flip(1))
        return (listeners * nn.functional.softplus(-differences)).sum() / listeners.sum()

    def extra_repr(self) -> str:
        """Describe the parameters."""
        return f"scale={self.scale}, min_difference={self.min_difference}"
