"""The `focal` loss."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from musicemo_builtin.losses._tags import check_tags, labeled_mean

__all__ = ["Focal"]


class Focal(nn.Module):
    """Focal loss of each tag: binary cross-entropy with less weight on what is predicted well.

        mean over known (i, c) of - a[i, c] (1 - p[i, c])^gamma log p[i, c]

    for track i and tag c, where p is the probability of the true answer: the sigmoid of `prediction` if the track has
    the tag, otherwise one minus it; a is `alpha` if the track has the tag, otherwise 1 - `alpha`, and 1 without
    `alpha`. Unknown tags are ignored. With gamma = 0 and no `alpha` it is `bce`.

    Shapes: `prediction` `[batch, tags]`, `target` `[batch, tags]` (1, 0, or NaN where unknown) -> scalar.

    T.-Y. Lin, P. Goyal, R. Girshick, K. He and P. Dollár, "Focal Loss for Dense Object Detection", ICCV 2017.
    Deviation: the sum is divided by the number of known pairs, not by that of the positive ones.

    Args:
        tag_counts: Tag -> number of training tracks with it and without it, in the order of the logits.
        gamma: Exponent: the larger, the less an answer counts that is nearly right.
        alpha: Weight of the tracks that have a tag, against 1 - alpha of those that do not have it.

    Raises:
        ValueError: in the call, if the shapes are not those above or no tag is known.
    """

    kind = "tags"

    def __init__(
        self,
        *,
        tag_counts: dict[str, tuple[int, int]],
        gamma: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 2.0,
        alpha: Annotated[float, Field(gt=0, lt=1)] | None = None,
    ) -> None:
        super().__init__()
        self.tags = tuple(tag_counts)
        self.gamma, self.alpha = gamma, alpha

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the loss of a batch."""
        prediction, target, labeled = check_tags(prediction, target, len(self.tags))
        margin = prediction * (2 * target - 1)
        # The power is computed from the logarithm: its gradient is finite where p is 1, for every gamma.
        weights = (self.gamma * nn.functional.logsigmoid(-margin)).exp()
        if self.alpha is not None:
            weights = weights * (self.alpha * target + (1 - self.alpha) * (1 - target))
        return labeled_mean(-weights * nn.functional.logsigmoid(margin), labeled)

    def extra_repr(self) -> str:
        """Describe the parameters."""
        return f"gamma={self.gamma}, alpha={self.alpha}"
