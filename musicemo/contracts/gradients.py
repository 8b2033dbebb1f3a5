"""Each task's gradient on the parameters that the tasks share, and what it weighs in a step."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from torch import Tensor

__all__ = ["TaskGradients", "WeightTrace"]


class TaskGradients:
    """The Jacobian of the tasks' losses with respect to the shared parameters, a row per task.

    Every task's loss is differentiated on its own, once, through its head and the sharing architecture to the
    embedding; the backbone is then gone through backward once per task, one after the other: unlike a vectorized pass
    this holds for every layer, recurrent ones on CUDA included, and on a CPU it is no slower. Parameters that no task
    reaches are left out, as an ordinary backward pass leaves them.

    Args:
        losses: task -> loss, a scalar.
        embedding: what the backbone gave, `[batch, embedding]`.
        shared: parameters of the backbone.
        heads: task -> parameters of its head, whose gradients are accumulated in `.grad` as they are found; None
            leaves them, and the graph, untouched.
        scale: of mixed precision: `rows` are free of it, and what is written to a `.grad` bears it.
        sharing: parameters between the embedding and the heads that several tasks use.
    """

    def __init__(
        self,
        losses: Mapping[str, Tensor],
        embedding: Tensor,
        shared: Sequence[Tensor],
        heads: Mapping[str, Sequence[Tensor]] | None,
        scale: Callable[[Tensor], Tensor],
        sharing: Sequence[Tensor] = (),
    ) -> None:
        first = next(iter(losses.values()))
        self._factor = scale(torch.ones_like(first, requires_grad=False))
        through = embedding.requires_grad and len(shared) > 0
        *_, last = losses
        after = [
            _through_head(
                scale(loss),
                sharing,
                embedding if through else None,
                heads,
                task,
                keep=heads is None or task != last,  # the tasks may share a graph beyond the embedding
            )
            for task, loss in losses.items()
        ]
        before: Sequence[Sequence[Tensor | None]] = [()] * len(losses)
        if through:
            arriving = [gradient for _, gradient in after]
            before = _through_backbone(embedding, shared, arriving, keep=heads is None)
        gradients = [[*row, *beyond] for row, (beyond, _) in zip(before, after, strict=True)]
        every = [*(shared if through else ()), *sharing]
        reached = [any(row[index] is not None for row in gradients) for index in range(len(every))]
        #: The shared parameters that some task reaches, those of the backbone first.
        self.parameters = [parameter for parameter, use in zip(every, reached, strict=True) if use]
        #: `[tasks, parameters]`, in the order of the losses; without a column where nothing is shared.
        self.rows = self._joined(gradients, reached, len(losses), first)

    def _joined(
        self, by_task: Sequence[Sequence[Tensor | None]], reached: Sequence[bool], tasks: int, like: Tensor
    ) -> Tensor:
        if not self.parameters:
            return like.new_zeros((tasks, 0))
        rows = self.parameters[0].new_empty((tasks, sum(p.numel() for p in self.parameters)))
        for row, gradients in zip(rows, by_task, strict=True):
            used = [gradient for gradient, use in zip(gradients, reached, strict=True) if use]
            parts = zip(used, self.parameters, strict=True)
            torch.cat([p.new_zeros(p.numel()) if g is None else g.reshape(-1) for g, p in parts], out=row)
        return rows.div_(self._factor)

    def accumulate(self, direction: Tensor) -> None:
        """Add a direction `[parameters]` to the shared parameters' `.grad`."""
        sizes = [parameter.numel() for parameter in self.parameters]
        parts = torch.split(direction * self._factor, sizes)
        for parameter, part in zip(self.parameters, parts, strict=True):
            gradient = part.view_as(parameter).to(parameter.dtype)
            if parameter.grad is None:
                parameter.grad = gradient
            else:
                parameter.grad += gradient


def _through_head(
    loss: Tensor,
    sharing: Sequence[Tensor],
    embedding: Tensor | None,
    heads: Mapping[str, Sequence[Tensor]] | None,
    task: str,
    *,
    keep: bool,
) -> tuple[Sequence[Tensor | None], Tensor | None]:
    """Fill in the head's gradients; return those of `sharing` and of the embedding, None without a dependency."""
    parameters = list(heads[task]) if heads is not None else []
    inputs = [*parameters, *sharing, *([] if embedding is None else [embedding])]
    if not inputs or not loss.requires_grad:
        return [None] * len(sharing), None
    gradients = torch.autograd.grad(loss, inputs, retain_graph=keep or None, allow_unused=True)
    for parameter, gradient in zip(parameters, gradients, strict=False):
        if gradient is not None:
            parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient
    end = len(parameters) + len(sharing)
    return gradients[len(parameters) : end], gradients[-1] if embedding is not None else None


def _through_backbone(
    embedding: Tensor, shared: Sequence[Tensor], arriving: Sequence[Tensor | None], *, keep: bool
) -> list[Sequence[Tensor | None]]:
    """Return, for each task, its gradient on each of the shared parameters."""
    last = max((index for index, gradient in enumerate(arriving) if gradient is not None), default=-1)
    nothing: list[Tensor | None] = [None] * len(shared)
    return [
        nothing
        if gradient is None
        else torch.autograd.grad(
            embedding, shared, gradient, retain_graph=keep or index < last, allow_unused=True
        )
        for index, gradient in enumerate(arriving)
    ]


class WeightTrace:
    """What every task weighed in the steps of an epoch, and the mean of it; nothing waits for a device meanwhile."""

    def __init__(self, tasks: Sequence[str]) -> None:
        self._tasks = tuple(tasks)
        self._totals: Tensor | None = None

    def clear(self) -> None:
        """Forget the steps so far: an epoch begins."""
        self._totals = None

    @torch.no_grad()
    def add(self, tasks: Iterable[str], weights: Tensor) -> None:
        """Take in the weights `[tasks]` of a step, of tasks that have a label in it."""
        present = tuple(tasks)
        if self._totals is None:
            self._totals = torch.zeros((2, len(self._tasks)), dtype=torch.float64, device=weights.device)
        where = slice(None) if present == self._tasks else [self._tasks.index(task) for task in present]
        self._totals[:, where] += torch.stack([weights.double(), torch.ones_like(weights, dtype=torch.float64)])

    def means(self) -> dict[str, float]:
        """Return ``weight/<task>``, the mean over the steps in which the task had a label, for tasks that had."""
        if self._totals is None:
            return {}
        sums = zip(self._tasks, *self._totals.tolist(), strict=True)
        return {f"weight/{task}": total / steps for task, total, steps in sums if steps}
