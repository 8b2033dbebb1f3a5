"""Soft and hard ranks."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch.autograd import Function

from musicemo.ops._backend import rank_state, rank_vjp
from musicemo.ops._checks import check_mask, check_ranking, check_values, once, working_dtype
from musicemo.ops._traced import traced_rank

__all__ = ["Regularization", "centred_rank", "hard_rank", "soft_rank", "zero_gradient_share"]

Regularization = Literal["l2", "kl"]


def soft_rank(
    values: torch.Tensor,
    *,
    strength: float = 1.0,
    regularization: Regularization = "l2",
    descending: bool = False,
    mask: torch.Tensor | None = None,
) -> torch.Tensor:
    """Rank the last axis from 1 to n, differentiably.

    For "l2", ``r(x) = argmin_{p in P} ||p - x / strength||^2``, where P is the permutahedron, the convex hull
    of the permutations of ``(1, ..., n)``. With ``s`` the sorted ``x / strength``, ``r_i = s_i - v_i``,
    where ``v`` is the isotonic regression of ``s_i - i``: the mean of ``s_i - i`` in each block of neighbors.
    For "kl", the entropic projection, ``r_i = exp(s_i) * sum_B k / sum_B exp(s_k)`` in each block B.
    Pool-adjacent-violators finds the blocks: O(n log n) with the sort, O(n) for the gradient.

    As ``strength`` tends to 0, the result tends to the ranks (the average among ties), and the gradient is zero almost
    everywhere. As ``strength`` tends to infinity, all ranks tend to (n + 1) / 2, for "l2" as
    ``(n + 1) / 2 + (x - mean x) / strength``. Neighbors in the order share a gradient if their distance is less than
    about ``strength``. The ranks of a row sum to n (n + 1) / 2.

    Args:
        values: ``[..., n]``, floating point. float16 and bfloat16 are computed, and returned, in float32: above 256,
            bfloat16 cannot represent neighboring ranks.
        strength: Smoothing strength, in units of `values`; positive.
        regularization: "l2" (Euclidean) or "kl" (entropic).
        descending: Whether the largest value has rank 1 instead of n.
        mask: Boolean, broadcastable to `values`. Entries that are false have rank 0 and a zero gradient, whatever their
            value; the others are ranked from 1 to their number.

    Returns:
        The ranks, ``[..., n]``, in the dtype of `values`, or float32 for half precisions. Differentiable once.

    Raises:
        InputError: A valid entry is NaN or infinite (the row is named), or an argument is invalid.

    Reference: M. Blondel, O. Teboul, Q. Berthet, J. Djolonga, "Fast Differentiable Sorting and Ranking",
    ICML 2020. Deviations: the default is ascending, as in ``argsort``, and blocks of equal level are pooled.
    """
    check_ranking(values, strength, regularization)
    kl = regularization == "kl"
    return _rank(values.to(working_dtype(values.dtype)), mask, strength, kl, descending, False)


def hard_rank(
    values: torch.Tensor, *, descending: bool = False, mask: torch.Tensor | None = None
) -> torch.Tensor:
    """Rank the last axis from 1 to n, with the average rank for ties. Not differentiable.

    Args:
        values: ``[..., n]``, floating point.
        descending: Whether the largest value has rank 1 instead of n.
        mask: As in `soft_rank`: masked entries have rank 0.

    Returns:
        The ranks, ``[..., n]``, in the dtype of `values`, or float32 for half precisions.

    Raises:
        InputError: A valid entry is NaN or infinite, or an argument is invalid.
    """
    check_values(values, "values")
    return _rank(values.detach().to(working_dtype(values.dtype)), mask, 0.0, False, descending, False)


def centred_rank(values: torch.Tensor, mask: torch.Tensor | None, step: float, kl: bool) -> torch.Tensor:
    """Return ranks for a correlation; for "l2" minus their mean, which would hide small deviations in float32."""
    return _rank(values, mask, step, kl, False, not kl)


class _SoftRank(Function):
    @staticmethod
    def forward(
        ctx: Any,
        values: torch.Tensor,
        mask: torch.Tensor | None,
        step: float,
        kl: bool,
        descending: bool,
        centred: bool,
    ) -> torch.Tensor:
        ranks, order = rank_state(values, mask, step, kl, descending, centred)
        ctx.save_for_backward(values, order, *((ranks,) if kl else ()))
        ctx.scale = (-1.0 if descending else 1.0) / step
        return ranks

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        values, order, *ranks = ctx.saved_tensors
        product = rank_vjp(grad.contiguous(), order, ranks[0] if ranks else order, ctx.scale, bool(ranks))
        return once(product, values, grad), None, None, None, None, None


def _rank(
    values: torch.Tensor, mask: torch.Tensor | None, step: float, kl: bool, descending: bool, centred: bool
) -> torch.Tensor:
    """Rank float32 or float64 `values`; `centred` ranks ("l2" only) have their mean subtracted."""
    if values.numel() == 0:
        return values * 1.0
    if mask is not None:
        mask = check_mask(mask, values)
    values = values.contiguous()
    if torch.compiler.is_compiling():
        traced: torch.Tensor = traced_rank(values, mask, step, kl, descending, centred)[0]
        return traced
    if values.requires_grad and torch.is_grad_enabled():
        ranks: torch.Tensor = _SoftRank.apply(values, mask, step, kl, descending, centred)  # type: ignore[no-untyped-call]  # torch's
        return ranks
    return rank_state(values.detach(), mask, step, kl, descending, centred)[0]


@torch.no_grad()
def zero_gradient_share(
    prediction: torch.Tensor,
    *,
    strength: float,
    regularization: Regularization = "l2",
    mask: torch.Tensor | None = None,
) -> torch.Tensor:
    """Return the share of valid entries whose soft rank has a zero gradient.

    These are the entries that are pooled with no other. At 1 the ranks are hard and the loss has no gradient;
    at 0 every prediction has a gradient.

    Args:
        prediction: ``[..., n]``, floating point.
        strength: Strength of the soft rank.
        regularization: Regularization of the soft rank: "l2" or "kl".
        mask: Boolean, broadcastable to `prediction`. Entries that are false are ignored.

    Returns:
        A scalar in [0, 1]; 0 without valid entries.

    Raises:
        InputError: As in `soft_rank`.
    """
    check_ranking(prediction, strength, regularization)
    x = prediction.detach().to(working_dtype(prediction.dtype)).contiguous()
    if x.numel() == 0:
        return x.new_zeros(())
    mask = check_mask(mask, x)
    state = traced_rank if torch.compiler.is_compiling() else rank_state
    _, order = state(x, mask, strength, regularization == "kl", False, False)
    starts = order < 0
    ends = torch.cat((starts[..., 1:], torch.ones_like(starts[..., :1])), -1)
    alone = (starts & ends).sum()
    if mask is None:
        return (alone / x.numel()).to(x.dtype)
    valid = mask.sum()
    masked = x.numel() - valid  # blocks of one as well
    return ((alone - masked) / valid.clamp(min=1)).to(x.dtype)
