"""The contract of weightings."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from musicemo.contracts.gradients import TaskGradients, WeightTrace
from musicemo.errors import InputError, RunError

__all__ = ["GradientWeighting", "Step", "Weighting"]


@dataclass(frozen=True, slots=True)
class Step:
    """Inputs of a weighting in one optimizer step, in addition to the losses."""

    #: Output of the backbone `[batch, embedding]`, through which the gradients of all tasks flow; of the whole batch,
    #: also if several processes train the network. With series only, the embeddings of the time steps, `[batch, time,
    #: embedding]`; with other tasks beside them, both in one row a track, `[batch, values]`.
    embedding: Tensor
    #: Trained parameters of the backbone, on which the embedding depends.
    shared: Sequence[nn.Parameter]
    #: Trained parameters of each task: of its head, and of the sharing architecture if no other task uses them.
    heads: Mapping[str, Sequence[nn.Parameter]]
    #: Loss scaling before the backward pass: that of mixed precision, times the weight of the batch if a step has the
    #: gradients of several batches; otherwise the identity.
    scale: Callable[[Tensor], Tensor]
    #: Trained parameters of the sharing architecture that several tasks use, between the embedding and the heads.
    sharing: Sequence[nn.Parameter] = ()

    def gradients(self, losses: Mapping[str, Tensor]) -> TaskGradients:
        """Return the gradient of every task on the shared parameters: `shared` and `sharing`. Call it once per step.

        The gradients of the heads are accumulated in their `.grad`.
        """
        return TaskGradients(losses, self.embedding, self.shared, self.heads, self.scale, self.sharing)


class Weighting(nn.Module):
    """Base class of weightings, which combine the losses of the tasks into gradients.

    A loss-based weighting overrides `combine`; a gradient-based weighting is a `GradientWeighting`. The optimizer of
    the experiment trains the parameters (without weight decay), and every checkpoint holds `state_dict`. Tasks
    without a label in a batch are absent from `losses`. `musicemo.testing.check_weighting` checks the properties
    declared below.
    """

    #: Whether scaling the loss of a task does not change the direction of the shared parameters.
    scale_invariant: bool = False
    #: Whether no step conflicts with the gradient of any task on the shared parameters.
    conflict_free: bool = False
    #: Whether losses must be positive. A loss that may be negative is then refused.
    positive_losses: bool = False
    #: Whether the weighting draws random numbers.
    stochastic: bool = False
    #: Whether `step_finished` needs the losses of the batch with the new parameters, one more forward pass per step.
    remeasures: bool = False

    def __init__(self, *, tasks: Sequence[str]) -> None:
        super().__init__()
        self.tasks = tuple(tasks)
        #: Weights of the tasks in the steps of this epoch.
        self.trace = WeightTrace(self.tasks)

    def combine(self, losses: Mapping[str, Tensor]) -> Tensor:
        """Return the objective, a scalar, from task -> loss."""
        raise NotImplementedError(f"{type(self).__name__} overrides neither combine nor backward")

    def backward(self, losses: Mapping[str, Tensor], step: Step) -> Tensor:
        """Accumulate gradients in the parameters' `.grad` and return the objective, a scalar.

        The recorded weight of a task is the derivative of the objective with respect to its loss.
        """
        traced = [loss for loss in losses.values() if loss.requires_grad]
        for loss in traced:
            loss.grad = None
            loss.retain_grad()
        objective = self.combine(losses)
        self._expect("combine", objective, (), "the objective, a scalar tensor")
        if traced and not objective.requires_grad:
            raise InputError(
                f"weighting {type(self).__name__}: what combine returns is detached from the losses"
            )
        step.scale(objective).backward()  # type: ignore[no-untyped-call]  # torch leaves backward untyped
        derivatives = [loss.grad for loss in traced if loss.grad is not None]
        if len(derivatives) == len(losses):
            self.trace.add(losses, torch.stack(derivatives) / step.scale(torch.ones_like(derivatives[0])))
        return objective

    def _expect(self, method: str, returned: object, shape: Sequence[int], what: str) -> None:
        """Refuse what an overridden method returns, unless it is a tensor of that shape."""
        if not isinstance(returned, Tensor) or tuple(returned.shape) != tuple(shape):
            description = (
                f"shape {list(returned.shape)}" if isinstance(returned, Tensor) else type(returned).__name__
            )
            raise InputError(
                f"weighting {type(self).__name__}: {method} returns {description}; it returns {what}, here of shape "
                f"{list(shape)}"
            )

    def scalars(self) -> dict[str, float]:
        """Return the scalars to record each epoch: ``weight/<task>`` (default: mean over the epoch) and other state."""
        return self.trace.means()

    @torch.no_grad()
    def step_finished(self, losses: Mapping[str, Tensor]) -> None:
        """Update the state after an optimizer step.

        Args:
            losses: task -> loss of the batch before the step, or after it if `remeasures`. If a step has the gradients
                of several batches, this is the last one.
        """

    @torch.no_grad()
    def epoch_finished(self, losses: Mapping[str, float]) -> None:
        """Update the state after an epoch from task -> training loss."""


class GradientWeighting(Weighting):
    """Base class of weightings that combine the gradients of the tasks on the shared parameters.

    Each head is trained by its own task. Override `weigh`, or `aggregate` if the direction is not a weighted sum. The
    gradients are unscaled in mixed precision, finite and not all zero. Neither method is called if no shared
    parameter is trained.
    """

    def weigh(self, gradients: Tensor, tasks: Sequence[str]) -> Tensor:
        """Return a weight per task `[tasks]` from their gradients `[tasks, parameters]`."""
        raise NotImplementedError(f"{type(self).__name__} overrides neither weigh nor aggregate")

    def aggregate(self, gradients: Tensor, tasks: Sequence[str]) -> Tensor:
        """Return one gradient `[parameters]` from the tasks' `[tasks, parameters]`."""
        weights = self.weigh(gradients, tasks)
        self._expect("weigh", weights, gradients.shape[:1], "a weight per task")
        if not weights.isfinite().all():
            listed = ", ".join(
                f"{task} {weight:g}" for task, weight in zip(tasks, weights.tolist(), strict=True)
            )
            raise RunError(
                f"weighting {type(self).__name__}: weigh returns weights that are not finite ({listed})"
            )
        self.trace.add(tasks, weights)
        return weights @ gradients

    def backward(self, losses: Mapping[str, Tensor], step: Step) -> Tensor:
        """Accumulate gradients in the parameters' `.grad` and return the losses' sum."""
        gradients = step.gradients(losses)
        if gradients.rows.numel():
            low, high = torch.aminmax(gradients.rows.detach())
            peak = float(torch.maximum(high, -low))
            usable = 0 < peak < math.inf  # of what is not finite, the sum is not either: the step is not taken
            with torch.no_grad():
                direction = (
                    self.aggregate(gradients.rows, tuple(losses)) if usable else gradients.rows.sum(dim=0)
                )
                self._expect("aggregate", direction, gradients.rows.shape[1:], "one gradient")
                if usable and not direction.isfinite().all():
                    raise RunError(
                        f"weighting {type(self).__name__}: aggregate returns a gradient that is not finite, of "
                        f"gradients that are (tasks: {', '.join(losses)})"
                    )
                gradients.accumulate(direction)
        return torch.stack(list(losses.values())).sum().detach()
