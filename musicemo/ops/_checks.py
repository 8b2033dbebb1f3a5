"""Checks of the operations' input."""

from __future__ import annotations

import math
from typing import Any, NoReturn

import torch
from torch.autograd import Function

from musicemo.errors import InputError

__all__ = ["check_mask", "check_pair", "check_ranking", "once", "refuse_row", "working_dtype"]

_HALF = (torch.float16, torch.bfloat16)


def working_dtype(dtype: torch.dtype) -> torch.dtype:
    """Return the dtype of the computation: float32 for half precisions, otherwise `dtype`."""
    return torch.float32 if dtype in _HALF else dtype


def check_values(values: torch.Tensor, name: str) -> None:
    """Raise `InputError` unless the values are a floating-point tensor with at least one dimension."""
    if not isinstance(values, torch.Tensor):
        raise InputError(f"{name} must be a tensor, not {type(values).__name__}")
    if not values.is_floating_point():
        raise InputError(f"{name} must be floating point, not {values.dtype}")
    if values.dim() == 0:
        raise InputError(f"{name} must have at least one dimension; rows lie along the last")


def check_ranking(values: torch.Tensor, strength: float, regularization: str) -> None:
    """Raise `InputError` unless the values and arguments are valid for soft ranking or sorting."""
    check_values(values, "values")
    if not (strength > 0.0 and math.isfinite(strength) and math.isfinite(1.0 / strength)):
        raise InputError(f"strength must be positive and finite, not {strength!r}")
    if regularization not in ("l2", "kl"):
        raise InputError(f"regularization must be 'l2' or 'kl', not {regularization!r}")


def check_pair(prediction: torch.Tensor, target: torch.Tensor) -> None:
    """Raise `InputError` if a prediction and a target differ in shape: broadcasting them is never intended."""
    check_values(prediction, "prediction")
    if not isinstance(target, torch.Tensor):
        raise InputError(f"target must be a tensor, not {type(target).__name__}")
    if prediction.shape != target.shape:
        shapes = f"{list(prediction.shape)} and {list(target.shape)}"
        raise InputError(f"prediction and target must have the same shape, not {shapes}")


def check_mask(mask: torch.Tensor | None, values: torch.Tensor) -> torch.Tensor | None:
    """Return the mask in the shape of `values`, contiguous; true marks valid entries."""
    if mask is None:
        return None
    if not isinstance(mask, torch.Tensor) or mask.dtype != torch.bool:
        kind = mask.dtype if isinstance(mask, torch.Tensor) else type(mask).__name__
        raise InputError(f"mask must be a boolean tensor, not {kind}")
    try:
        return mask.expand(values.shape).contiguous()
    except RuntimeError:
        shapes = f"{list(mask.shape)} does not broadcast to {list(values.shape)}"
        raise InputError(f"the mask's shape {shapes}") from None


def refuse_row(values: torch.Tensor, mask: torch.Tensor | None) -> None:
    """Raise an `InputError` that names the first row with a valid entry that is not finite."""
    bad = ~torch.isfinite(values.detach())
    if mask is not None:
        bad &= mask
    *row, column = bad.nonzero()[0].tolist()
    value = values[(*row, column)].item()
    kind = "NaN" if math.isnan(value) else "infinity"
    where = f"row {row[0] if len(row) == 1 else tuple(row)}" if row else "row 0"
    raise InputError(f"{where} holds {kind} (position {column}): ranks and correlations need finite values")


class _Once(Function):
    """The identity on its first argument. Differentiating its gradient is an error."""

    @staticmethod
    def forward(ctx: Any, product: torch.Tensor, *sources: torch.Tensor) -> torch.Tensor:
        return product.view_as(product)

    @staticmethod
    def backward(ctx: Any, *grad: torch.Tensor) -> NoReturn:
        raise RuntimeError(
            "soft_rank and soft_sort can be differentiated once: their gradient is piecewise constant in the "
            "order of the values, and its own derivative is not implemented"
        )


def once(product: torch.Tensor, values: torch.Tensor, grad: torch.Tensor) -> torch.Tensor:
    """Return the vector-Jacobian product so that a second derivative, with respect to either argument, is an error."""
    if not torch.is_grad_enabled():  # no graph of this backward pass is asked for
        return product
    result: torch.Tensor = _Once.apply(product, values, grad)  # type: ignore[no-untyped-call]  # torch's
    return result
