"""Refusal of second derivatives."""

from __future__ import annotations

from typing import Any, NoReturn

import torch
from torch.autograd import Function

__all__ = ["once"]


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
