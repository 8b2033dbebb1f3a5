"""Shape checks and the masked mean of losses for tags."""

from __future__ import annotations

from torch import Tensor

from musicemo_builtin.losses._pairs import single

__all__ = ["check_tags", "labeled_mean"]


def check_tags(prediction: Tensor, target: Tensor, tags: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return logits in at least float32, targets with 0 for unknown ones, and which are known; all `[batch, tags]`.

    Raises:
        ValueError: the shapes are not `[batch, tags]`, or no target is known.
    """
    if (
        prediction.shape != target.shape
        or prediction.dim() != 2
        or prediction.shape[1] != tags
        or not len(target)
    ):
        raise ValueError(
            f"prediction {list(prediction.shape)} and target {list(target.shape)} must both be [batch, {tags}], "
            "batch > 0"
        )
    labeled = target.isfinite()
    if not labeled.any():
        raise ValueError("no tag of the batch is known")
    prediction = single(prediction)
    return prediction, target.to(prediction.dtype).nan_to_num(), labeled


def labeled_mean(values: Tensor, labeled: Tensor) -> Tensor:
    """Return the mean of the values of known pairs of a track and a tag."""
    return values.masked_fill(~labeled, 0).sum() / labeled.sum()
