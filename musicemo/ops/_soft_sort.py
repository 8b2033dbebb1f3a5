"""Soft sorting."""

from __future__ import annotations

from typing import Any

import torch
from torch.autograd import Function

from musicemo.ops._backend import sort_state, sort_vjp
from musicemo.ops._checks import check_mask, check_ranking, once, working_dtype
from musicemo.ops._rank import Regularization
from musicemo.ops._traced import traced_sort

__all__ = ["soft_sort"]


def soft_sort(
    values: torch.Tensor,
    *,
    strength: float = 1.0,
    regularization: Regularization = "l2",
    descending: bool = False,
    mask: torch.Tensor | None = None,
) -> torch.Tensor:
    """Sort the last axis, differentiably.

    ``s(x) = argmin_{p in P(x)} ||p - rho / strength||^2 / 2`` with ``rho = (1, ..., n)``, where P(x) is the
    convex hull of the permutations of x. For "kl", the entropic projection, it is ``-log`` of the projection for
    ``exp(-x)``. As ``strength`` tends to 0, the result tends to the sorted row; as it tends to infinity, all entries
    tend to the mean ("l2"). "l2" preserves the sum of a row.

    Args:
        values: ``[..., n]``, floating point. float16 and bfloat16 are computed, and returned, in float32.
        strength: Smoothing strength, in units of 1 / `values`; positive. The difference between neighbors in the
            result is at most 1 / strength.
        regularization: "l2" (Euclidean) or "kl" (entropic).
        descending: Whether the largest value comes first.
        mask: Boolean, broadcastable to `values`. Entries that are false are ignored: the valid entries are sorted
            into the first positions, followed by zeros.

    Returns:
        The sorted row, ``[..., n]``, in the dtype of `values`, or float32 for half precisions. Differentiable once.

    Raises:
        InputError: A valid entry is NaN or infinite (the row is named), or an argument is invalid.

    Reference: M. Blondel, O. Teboul, Q. Berthet, J. Djolonga, "Fast Differentiable Sorting and Ranking",
    ICML 2020. Deviation: the default is ascending, as in `torch.sort`.
    """
    check_ranking(values, strength, regularization)
    x = values.to(working_dtype(values.dtype)).contiguous()
    if x.numel() == 0:
        return x * 1.0
    mask = check_mask(mask, x)
    if torch.compiler.is_compiling():
        result: torch.Tensor = traced_sort(x, mask, strength, regularization == "kl", descending)[0]
    else:
        result = _SoftSort.apply(x, mask, strength, regularization == "kl", descending)  # type: ignore[no-untyped-call]  # torch's
    return result


class _SoftSort(Function):
    @staticmethod
    def forward(
        ctx: Any, values: torch.Tensor, mask: torch.Tensor | None, step: float, kl: bool, descending: bool
    ) -> torch.Tensor:
        result, order = sort_state(values, mask, step, kl, descending)
        ctx.save_for_backward(values, order, mask)
        ctx.setting = kl, descending
        return result

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        values, order, mask = ctx.saved_tensors
        product = sort_vjp(grad.contiguous(), order, values.detach(), mask, *ctx.setting)
        return once(product, values, grad), None, None, None, None
