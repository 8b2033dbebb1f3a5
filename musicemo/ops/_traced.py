"""The ranking as opaque operators, for code that torch.compile traces: no graph break, numba left untraced.

Eager code does not come here: a registered operator costs more than a small ranking does.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.library import custom_op

from musicemo.ops import _backend

__all__ = ["traced_rank", "traced_sort"]


@custom_op("musicemo::soft_rank", mutates_args=())
def traced_rank(
    values: Tensor, mask: Tensor | None, step: float, kl: bool, descending: bool, centred: bool
) -> tuple[Tensor, Tensor]:
    """Return `_backend.rank_state`."""
    return _backend.rank_state(values, mask, step, kl, descending, centred)


@custom_op("musicemo::soft_rank_vjp", mutates_args=())
def _rank_vjp(grad: Tensor, order: Tensor, ranks: Tensor, scale: float, kl: bool) -> Tensor:
    return _backend.rank_vjp(grad.contiguous(), order, ranks, scale, kl)


@custom_op("musicemo::soft_sort", mutates_args=())
def traced_sort(
    values: Tensor, mask: Tensor | None, step: float, kl: bool, descending: bool
) -> tuple[Tensor, Tensor]:
    """Return `_backend.sort_state`."""
    return _backend.sort_state(values, mask, step, kl, descending)


@custom_op("musicemo::soft_sort_vjp", mutates_args=())
def _sort_vjp(grad: Tensor, order: Tensor, values: Tensor, mask: Tensor | None, kl: bool, down: bool) -> Tensor:
    return _backend.sort_vjp(grad.contiguous(), order, values, mask, kl, down)


@traced_rank.register_fake
@traced_sort.register_fake
def _(values: Tensor, *_: Any) -> tuple[Tensor, Tensor]:
    return torch.empty_like(values), torch.empty_like(values, dtype=torch.int32)


@_rank_vjp.register_fake
@_sort_vjp.register_fake
def _(grad: Tensor, *_: Any) -> Tensor:
    return torch.empty_like(grad, memory_format=torch.contiguous_format)


def _keep_ranks(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    _, _, step, ctx.kl, descending, _ = inputs
    ctx.scale = (-1.0 if descending else 1.0) / (step or 1.0)
    ctx.save_for_backward(*output)


def _rank_backward(ctx: Any, grad: Tensor, _: Any) -> tuple[Tensor | None, ...]:
    ranks, order = ctx.saved_tensors
    return _rank_vjp(grad, order, ranks, ctx.scale, ctx.kl), None, None, None, None, None


def _keep_order(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    values, mask, _, ctx.kl, ctx.descending = inputs
    ctx.save_for_backward(values, mask, output[1])


def _sort_backward(ctx: Any, grad: Tensor, _: Any) -> tuple[Tensor | None, ...]:
    values, mask, order = ctx.saved_tensors
    return _sort_vjp(grad, order, values, mask, ctx.kl, ctx.descending), None, None, None, None


traced_rank.register_autograd(_rank_backward, setup_context=_keep_ranks)
traced_sort.register_autograd(_sort_backward, setup_context=_keep_order)
