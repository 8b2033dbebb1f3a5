"""Communication between the processes that train one network, through which gradients flow.

Every process computes the backbone on its share of a batch, and everything after it on the whole batch. With the
embeddings e_p of process p, the losses L(e_1, ..., e_n) are therefore the same in every process, and

    dL/dw = sum_p dL/de_p de_p/dw

for the parameters w of the backbone: `gather` gives every process the embeddings of all, and its own dL/de_p;
`replicate` adds up the sum. Both are the identity for a single process.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

__all__ = ["communicating", "gather", "processes", "replicate", "total"]

#: Whether this process computes a batch together with others, and whether its rows belong to the batch.
_active = False
_counts = True


@contextlib.contextmanager
def communicating(*, counts: bool = True) -> Iterator[None]:
    """Communicate inside with the other processes of `torch.distributed`'s default group.

    Args:
        counts: whether the rows of this process belong to the batch. A process without a share of a small batch
            computes a row that no sum includes.
    """
    global _active, _counts
    before = _active, _counts
    _active, _counts = True, counts
    try:
        yield
    finally:
        _active, _counts = before


def processes() -> int:
    """Return the number of processes that compute this batch together."""
    return dist.get_world_size() if _active else 1


def total(tensor: Tensor) -> Tensor:
    """Return the sum of a tensor over the processes, for statistics of the whole batch. The gradient is exact."""
    if not _active:
        return tensor
    summed: Tensor = _Total.apply(tensor if _counts else tensor * 0)  # type: ignore[no-untyped-call]  # torch's
    return summed


def gather(rows: Tensor, counts: Sequence[int]) -> Tensor:
    """Return the rows `[batch, ...]` of all processes, those of the first process first.

    Sequences `[batch, time, ...]` are padded with zeros to the longest, rows `[batch, values]` to the longest row.

    Args:
        rows: the rows of this process; further ones than it has in `counts` are left out.
        counts: number of rows of each process.
    """
    if rows.dim() > 1:
        steps = torch.tensor(rows.shape[1], device=rows.device)
        dist.all_reduce(steps, dist.ReduceOp.MAX)
        rows = torch.nn.functional.pad(rows, (0, 0) * (rows.dim() - 2) + (0, int(steps) - rows.shape[1]))
    gathered: Tensor = _Gather.apply(rows, counts)  # type: ignore[no-untyped-call]  # torch leaves apply untyped
    return gathered


def replicate(parameters: Sequence[Tensor]) -> Sequence[Tensor]:
    """Return the parameters for use in a forward pass. Their gradients are the sums over the processes."""
    copies: Sequence[Tensor] = _Replicate.apply(*parameters)  # type: ignore[no-untyped-call]  # torch's
    return copies


class _Total(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        summed = tensor.detach().clone()
        dist.all_reduce(summed)
        return summed

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Tensor:
        gradient: Tensor = gradients[0].contiguous().clone()
        dist.all_reduce(gradient)  # every process's loss depends on every process's summand
        return gradient


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, counts: Sequence[int]) -> Tensor:
        rank = dist.get_rank()
        ctx.rows, ctx.first, ctx.count = rows.shape[0], sum(counts[:rank]), counts[rank]
        padded = rows.new_zeros((max(counts), *rows.shape[1:]))
        padded[: ctx.count] = rows[: ctx.count]
        parts = [torch.empty_like(padded) for _ in counts]
        dist.all_gather(parts, padded)
        return torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor, None]:
        whole: Tensor = gradients[0]
        gradient = whole.new_zeros((ctx.rows, *whole.shape[1:]))
        gradient[: ctx.count] = whole[ctx.first : ctx.first + ctx.count]
        return gradient, None


class _Replicate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *parameters: Tensor) -> tuple[Tensor, ...]:
        ctx.set_materialize_grads(False)
        ctx.like = [torch.empty_like(one, device="meta") for one in parameters]
        ctx.device = parameters[0].device
        return tuple(one.view_as(one) for one in parameters)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        reached = torch.tensor([float(gradient is not None) for gradient in gradients], device=ctx.device)
        parts = [
            reached.new_zeros(like.numel()) if gradient is None else gradient.reshape(-1).to(reached)
            for gradient, like in zip(gradients, ctx.like, strict=True)
        ]
        summed = torch.cat([reached, *parts])
        dist.all_reduce(summed)  # one message, and none of a parameter that no process reaches
        reached, *parts = torch.split(summed, [len(reached), *(like.numel() for like in ctx.like)])
        return tuple(
            part.view(like.shape).to(like.dtype) if use else None
            for part, like, use in zip(parts, ctx.like, reached.tolist(), strict=True)
        )
