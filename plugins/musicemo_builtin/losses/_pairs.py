"""Shape checks, precision and correlation losses, shared by the losses."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from musicemo.errors import InputError

__all__ = ["check_pair", "one_minus", "single", "weighted_mean"]


def single(values: Tensor) -> Tensor:
    """Return values in float32 if they are of half precision, in which a mean over a batch loses its digits."""
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values


def weighted_mean(values: Tensor, weight: Tensor | None) -> Tensor:
    """Return the mean of the values of a batch, `[batch]`, with the weight of each track if there is one."""
    if weight is None:
        return values.mean()
    weight = weight.to(values.dtype)
    return (weight * values).sum() / weight.sum()


def check_pair(prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return a prediction and a target in at least float32; both must be `[batch]`, with at least one track.

    Broadcasting `[batch, 1]` against `[batch]` compares every prediction with every target, and the best answer
    to that is the mean.

    Raises:
        ValueError: the shapes differ, are not one-dimensional, or are empty.
    """
    if prediction.shape != target.shape or prediction.dim() != 1 or len(prediction) == 0:
        raise ValueError(
            f"prediction {list(prediction.shape)} and target {list(target.shape)} must both be [batch], batch > 0"
        )
    return single(prediction), single(target)


def one_minus(correlation: Callable[[Tensor, Tensor], Tensor], prediction: Tensor, target: Tensor) -> Tensor:
    """Return one less the correlation, or NaN where the prediction is not finite, for the run to stop on.

    Raises:
        ValueError: the shapes are not both `[batch]`, or a target is not finite.
    """
    prediction, target = check_pair(prediction, target)
    try:
        return 1 - correlation(prediction, target)
    except InputError:
        if bool(prediction.isfinite().all()):
            raise
        return prediction.sum() * math.nan
