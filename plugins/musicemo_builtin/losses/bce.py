"""The `bce` loss."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from musicemo_builtin.losses._tags import check_tags, labeled_mean

__all__ = ["BinaryCrossEntropy"]


class BinaryCrossEntropy(nn.Module):
    """Binary cross-entropy of each tag, with weights of the tracks that have it and label smoothing.

        mean over known (i, c) of - w[c] q[i, c] log p[i, c] - (1 - q[i, c]) log(1 - p[i, c])
        q[i, c] = (1 - s) y[i, c] + s / 2

    for track i and tag c, with p -> the sigmoid of `prediction`, y -> `target`, w -> `positive_weight`, s ->
    `label_smoothing`. Unknown tags are ignored.

    A "balanced" weight is n0[c] / n1[c] for n1 training tracks with the tag and n0 without it: both have the same total
    weight. It is 1 if one of the numbers is 0. Weights raise the probabilities of rare tags, which are then no longer
    calibrated; the ranking of the tracks changes little.

    Shapes: `prediction` `[batch, tags]`, `target` `[batch, tags]` (1, 0, or NaN where unknown) -> scalar.

    Args:
        tag_counts: Tag -> number of training tracks with it and without it, in the order of the logits.
        positive_weight: Weight of the tracks that have a tag: "balanced", a number for all tags, or 1.
        label_smoothing: Share of the target that is replaced by 1/2.

    Raises:
        ValueError: in the call, if the shapes are not those above or no tag is known.
    """

    kind = "tags"

    def __init__(
        self,
        *,
        tag_counts: dict[str, tuple[int, int]],
        positive_weight: Literal["balanced"] | Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None,
        label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0,
    ) -> None:
        super().__init__()
        self.tags = tuple(tag_counts)
        self.label_smoothing = label_smoothing
        if positive_weight == "balanced":
            weights = [without / have if have and without else 1.0 for have, without in tag_counts.values()]
        else:
            weights = [1.0 if positive_weight is None else float(positive_weight)] * len(tag_counts)
        self.weights: Tensor
        self.register_buffer("weights", torch.tensor(weights), persistent=False)

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the loss of a batch."""
        prediction, target, labeled = check_tags(prediction, target, len(self.tags))
        target = target * (1 - self.label_smoothing) + self.label_smoothing / 2
        values = nn.functional.binary_cross_entropy_with_logits(
            prediction, target, reduction="none", pos_weight=self.weights.to(prediction.dtype)
        )
        return labeled_mean(values, labeled)

    def extra_repr(self) -> str:
        """Describe the weights and the smoothing."""
        weights = dict(zip(self.tags, self.weights.tolist(), strict=True))
        return f"positive_weight={weights}, label_smoothing={self.label_smoothing}"
