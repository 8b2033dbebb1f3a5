"""Shape checks of losses for the ratings of single listeners."""

from __future__ import annotations

from torch import Tensor

from musicemo_builtin.losses._pairs import single

__all__ = ["check_listeners"]


def check_listeners(prediction: Tensor, target: Tensor, outputs: int) -> tuple[Tensor, Tensor]:
    """Return outputs `[batch, outputs]` and ratings `[batch, listeners]` in at least float32.

    Raises:
        ValueError: the shapes are others, or a track has no rating.
    """
    if prediction.dim() != 2 or target.dim() != 2 or prediction.shape[1] != outputs or not len(target):
        raise ValueError(
            f"prediction {list(prediction.shape)} and target {list(target.shape)} must be [batch, {outputs}] and "
            "[batch, listeners], batch > 0"
        )
    if len(prediction) != len(target) or not target.isfinite().any(dim=1).all():
        raise ValueError("each track of a batch must have at least one rating")
    prediction = single(prediction)
    return prediction, target.to(prediction.dtype)
