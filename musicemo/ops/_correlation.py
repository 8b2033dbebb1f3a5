"""Correlations of predictions with targets, averaged over rows."""

from __future__ import annotations

from typing import Literal

import torch

from musicemo.errors import InputError
from musicemo.ops._checks import check_mask, check_pair, check_ranking, refuse_row, working_dtype
from musicemo.ops._rank import Regularization, centred_rank

__all__ = ["Reduction", "TargetRanks", "ccc", "pearson", "spearman"]

Reduction = Literal["mean", "none"]
TargetRanks = Literal["hard", "soft", "none"]


def pearson(
    prediction: torch.Tensor,
    target: torch.Tensor,
    *,
    mask: torch.Tensor | None = None,
    reduction: Reduction = "mean",
) -> torch.Tensor:
    """Return Pearson's correlation of each row, ``sum(dx * dy) / sqrt(sum(dx^2) * sum(dy^2))``, or its mean.

    ``dx`` and ``dy`` are deviations from the row's mean. A row whose prediction or target is constant has
    correlation 0 and a zero gradient. Rows with fewer than two valid entries are left out of the mean.

    Args:
        prediction: ``[..., n]``, floating point. Half precisions are computed, and returned, in float32.
        target: The same shape.
        mask: Boolean, broadcastable to `prediction`. Entries that are false are ignored, whatever their value.
        reduction: "mean" over rows, or "none".

    Returns:
        A scalar for "mean", 0 if no row has two valid entries; ``[...]`` for "none".

    Raises:
        InputError: The shapes differ, a valid entry is NaN or infinite (the row is named), or an argument is invalid.
    """
    x, y, mask, count = _prepare(prediction, target, mask, reduction)
    return _reduce(_correlate(x, y, mask, count), count, reduction)


def ccc(
    prediction: torch.Tensor,
    target: torch.Tensor,
    *,
    mask: torch.Tensor | None = None,
    reduction: Reduction = "mean",
) -> torch.Tensor:
    """Return the concordance correlation coefficient of each row, or its mean.

    ``2 * cov(x, y) / (var(x) + var(y) + (mean(x) - mean(y))^2)`` with moments over n, not n - 1: Pearson's
    correlation, reduced by differences in mean and scale. A row whose prediction or target is constant has
    coefficient 0 and a zero gradient, as for the other correlations.

    Arguments, return value and errors are those of `pearson`.

    Reference: L. I. Lin, "A Concordance Correlation Coefficient to Evaluate Reproducibility", Biometrics, 1989.
    """
    x, y, mask, count = _prepare(prediction, target, mask, reduction)
    (dx, mx, x_varies), (dy, my, y_varies) = _deviations(x, mask, count), _deviations(y, mask, count)
    shift = mx - my
    scale = torch.maximum(torch.maximum(_peak(dx), _peak(dy)), shift.detach().abs())
    varies = x_varies & y_varies
    scale = scale.clamp(min=torch.finfo(x.dtype).tiny / torch.finfo(x.dtype).eps)
    dx, dy, shift = dx / scale, dy / scale, shift / scale  # homogeneous: the scale has no gradient of its own
    both = (dx * dx + dy * dy).sum(-1, keepdim=True) + count * shift * shift
    value = 2.0 * (dx * dy).sum(-1, keepdim=True) / both.where(varies, 1.0)
    return _reduce(value.where(varies, 0.0), count, reduction)


def spearman(
    prediction: torch.Tensor,
    target: torch.Tensor,
    *,
    strength: float = 0.03,
    regularization: Regularization = "l2",
    target_ranks: TargetRanks = "hard",
    mask: torch.Tensor | None = None,
    reduction: Reduction = "mean",
) -> torch.Tensor:
    """Return a differentiable Spearman's rho of each row, or its mean: Pearson's correlation with soft ranks.

    As ``strength`` tends to 0, it tends to the exact rho, whose gradient is zero. As ``strength`` tends to
    infinity, it tends to Pearson's correlation of the predictions with the target's ranks ("l2").

    Args:
        prediction: ``[..., n]``, floating point. Half precisions are computed, and returned, in float32.
        target: The same shape.
        strength: Strength of the soft ranks, in units of the predictions; see `soft_rank`. A good value is the
            range of the predictions divided by n: the default suits 32 predictions in [0, 1].
        regularization: Regularization of the soft ranks: "l2" or "kl".
        target_ranks: "hard" gives tied targets the average of their ranks. "soft" ranks the target softly, with the
            same strength, which is then in units of the target too. "none" correlates with the values of the
            target: this is not rho, but some studies optimize it.
        mask: As in `pearson`.
        reduction: As in `pearson`.

    Return value and errors are those of `pearson`.
    """
    check_pair(prediction, target)
    check_ranking(prediction, strength, regularization)
    if target_ranks not in ("hard", "soft", "none"):
        raise InputError(f"target_ranks must be 'hard', 'soft' or 'none', not {target_ranks!r}")
    _check_reduction(reduction)
    dtype = working_dtype(prediction.dtype)
    x = prediction.to(dtype)
    y = target.to(working_dtype(target.dtype) if target.is_floating_point() else dtype)
    mask = check_mask(mask, x)
    if target_ranks == "none":
        y = _finite(y, mask)
    elif target_ranks == "hard":
        y = centred_rank(y.detach(), mask, 0.0, False)
    else:
        y = centred_rank(y, mask, strength, regularization == "kl")
    x = centred_rank(x, mask, strength, regularization == "kl")
    count = _count(x, mask)
    return _reduce(_correlate(x, y.to(dtype), mask, count), count, reduction)


def _prepare(
    prediction: torch.Tensor, target: torch.Tensor, mask: torch.Tensor | None, reduction: str
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None, torch.Tensor]:
    """Check the input, convert it to the dtype of the computation, zero masked entries and count the valid ones."""
    check_pair(prediction, target)
    _check_reduction(reduction)
    dtype = working_dtype(prediction.dtype)
    x, y = prediction.to(dtype), target.to(dtype)
    mask = check_mask(mask, x)
    return _finite(x, mask), _finite(y, mask), mask, _count(x, mask)


def _finite(values: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """Zero masked entries, and raise an error if another entry is not finite."""
    if mask is not None:
        values = values.masked_fill(~mask, 0.0)
    if not bool(values.isfinite().all()):
        refuse_row(values, mask)
    return values


def _check_reduction(reduction: str) -> None:
    if reduction not in ("mean", "none"):
        raise InputError(f"reduction must be 'mean' or 'none', not {reduction!r}")


def _count(x: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """Return the number of valid entries of each row, ``[..., 1]``."""
    if mask is None:
        return x.new_full((*x.shape[:-1], 1), x.shape[-1])
    return mask.sum(-1, keepdim=True).to(x.dtype)


def _peak(x: torch.Tensor) -> torch.Tensor:
    if x.shape[-1] == 0:
        return x.new_zeros((*x.shape[:-1], 1))
    return x.detach().abs().amax(-1, keepdim=True)


def _deviations(
    x: torch.Tensor, mask: torch.Tensor | None, count: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return halved deviations from the mean, the halved mean, and whether the row varies at all.

    Because of the halving, no finite input overflows. Centered twice, the deviations of a constant row are of the order
    of eps squared, well below one unit in the last place; this distinguishes rounding from variation.
    """
    half, outside = x * 0.5, None if mask is None else ~mask
    share = 1.0 / count.clamp(min=1.0)
    mean = (half * share).sum(-1, keepdim=True)
    deviation = half - mean
    if outside is not None:
        deviation = deviation.masked_fill(outside, 0.0)
    rest = (deviation * share).sum(-1, keepdim=True)
    deviation = deviation - rest
    if outside is not None:
        deviation = deviation.masked_fill(outside, 0.0)
    info = torch.finfo(x.dtype)
    varies = _peak(deviation) > (_peak(half) * (info.eps / 16.0)).clamp(min=info.tiny / info.eps)
    return deviation, mean + rest, varies


def _correlate(
    x: torch.Tensor, y: torch.Tensor, mask: torch.Tensor | None, count: torch.Tensor
) -> torch.Tensor:
    (dx, _, x_varies), (dy, _, y_varies) = _deviations(x, mask, count), _deviations(y, mask, count)
    varies = x_varies & y_varies
    dx, dy = dx / _peak(dx).where(varies, 1.0), dy / _peak(dy).where(varies, 1.0)
    norms = (dx * dx).sum(-1, keepdim=True).where(varies, 1.0) * (dy * dy).sum(-1, keepdim=True).where(
        varies, 1.0
    )
    value = (dx * dy).sum(-1, keepdim=True) / norms.sqrt()
    return value.clamp(-1.0, 1.0).where(varies, 0.0)


def _reduce(value: torch.Tensor, count: torch.Tensor, reduction: str) -> torch.Tensor:
    value = value.squeeze(-1)
    if reduction == "none":
        return value
    counted = (count.squeeze(-1) >= 2.0).to(value.dtype)
    return (value * counted).sum() / counted.sum().clamp(min=1.0)
