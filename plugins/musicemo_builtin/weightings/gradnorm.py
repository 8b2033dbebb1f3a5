"""The `gradnorm` weighting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from musicemo.contracts import Step, TaskGradients, Weighting
from musicemo_builtin.weightings._losses import check_positive

__all__ = ["GradNorm"]
_LEAST = 1e-3


class GradNorm(Weighting):
    """Gradient normalization: weights that give gradients of equal norm, or larger for tasks that learn slowly.

        sum_t w[t] loss[t],  w trained on sum_t |G[t] - mean_i(G[i]) r[t]^alpha|,  sum_t w[t] the number of tasks

    over the tasks t that have a label in the batch. G[t] is the norm of the gradient of w[t] loss[t], and r[t] the
    loss divided by the first loss of its task, divided by the mean of this ratio over the tasks. The optimizer of the
    experiment trains w and treats the target mean(G) r^alpha as constant. No weight falls below 0.001.

    Z. Chen, V. Badrinarayanan, C.-Y. Lee and A. Rabinovich, "GradNorm: Gradient Normalization for Adaptive Loss
    Balancing in Deep Multitask Networks", ICML 2018. There the norm is of the gradient with respect to the
    weights of the last shared layer. A backbone does not declare this layer, so here the gradient is with respect to
    the embedding, which needs one backward pass through the backbone instead of one per task. ``of = "shared"`` uses
    all shared parameters.

    Args:
        tasks: Names of the tasks.
        alpha: Strength with which tasks that learn slowly are favored; 0 gives gradients of equal norm.
        of: Variables of the gradient.

    Raises:
        InputError: A loss is negative.
    """

    positive_losses = True

    def __init__(
        self,
        *,
        tasks: Sequence[str],
        alpha: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.5,
        of: Literal["embedding", "shared"] = "embedding",
    ) -> None:
        super().__init__(tasks=tasks)
        self.alpha, self.of = alpha, of
        self.weights = nn.Parameter(torch.ones(len(self.tasks)))
        self.first: Tensor
        #: Every task's first loss; NaN of tasks that had no label yet.
        self.register_buffer("first", torch.full((len(self.tasks),), torch.nan))

    def backward(self, losses: Mapping[str, Tensor], step: Step) -> Tensor:
        """Accumulate gradients in the parameters' `.grad`, the weights' included, and return the weighted sum."""
        check_positive(losses)
        where = [self.tasks.index(task) for task in losses]
        weights = self.weights.detach()[where]
        weighted = {task: weight * loss for weight, (task, loss) in zip(weights, losses.items(), strict=True)}
        norms = self._descend(weighted, step)
        values = torch.stack(list(losses.values())).detach()
        first = self.first[where]
        self.first[where] = torch.where(first.isnan(), values, first)
        if self.weights.grad is None:
            self.weights.grad = torch.zeros_like(self.weights)
        self.weights.grad[where] += step.scale(self._slope(norms, values / self.first[where], weights))
        self.trace.add(losses, weights)
        return torch.stack(list(weighted.values())).sum().detach()

    def _descend(self, weighted: Mapping[str, Tensor], step: Step) -> Tensor:
        """Fill in the network's gradients and return the norm of each task's, `[tasks]`."""
        embedding = step.embedding
        if self.of == "shared":
            gradients = step.gradients(weighted)
            if gradients.parameters:
                gradients.accumulate(gradients.rows.sum(dim=0))
            return _norms(gradients)
        through = [embedding] if embedding.requires_grad else []
        beyond = {task: [*head, *step.sharing] for task, head in step.heads.items()}
        gradients = TaskGradients(weighted, embedding, through, beyond, step.scale)
        if through:
            embedding.backward(step.scale(gradients.rows.sum(dim=0)).view_as(embedding))  # type: ignore[no-untyped-call]
        return _norms(gradients)

    def _slope(self, norms: Tensor, relative: Tensor, weights: Tensor) -> Tensor:
        """Return the derivative of the distances to the target by each weight, 0 where there is no gradient."""
        rates = relative.nan_to_num(1.0, posinf=1.0)  # of a first loss of zero
        rates = (rates / rates.mean()).nan_to_num(1.0, posinf=1.0)
        target = norms.mean() * rates**self.alpha
        return torch.sign(norms - target) * norms / weights

    @torch.no_grad()
    def step_finished(self, losses: Mapping[str, Tensor]) -> None:
        """Bring the weights' sum back to the number of tasks."""
        self.weights.clamp_(min=_LEAST)
        self.weights.mul_(len(self.tasks) / self.weights.sum())


def _norms(gradients: TaskGradients) -> Tensor:
    norms: Tensor = torch.linalg.vector_norm(gradients.rows, dim=1)
    return norms
