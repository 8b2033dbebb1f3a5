"""A weighting: from the tasks' losses to gradients."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from musicemo.errors import InputError
from musicemo.gradients import TaskGradients, WeightTrace

__all__ = ["GradientWeighting", "Step", "Weighting"]


@dataclass(frozen=True, slots=True)
class Step:
    """What one optimization step offers to a weighting beside the losses."""

    #: The backbone's output `[batch, embedding]`, through which every task's gradient flows.
    embedding: Tensor
    #: Parameters of the backbone, and of each task's head, that are trained.
    shared: Sequence[nn.Parameter]
    heads: Mapping[str, Sequence[nn.Parameter]]
    #: Scales an objective before its backward pass (mixed precision); the identity otherwise.
    scale: Callable[[Tensor], Tensor]

    def gradients(self, losses: Mapping[str, Tensor]) -> TaskGradients:
        """Return every task's gradient on the shared parameters; its head's goes to `.grad`. Once a step."""
        return TaskGradients(losses, self.embedding, self.shared, self.heads, self.scale)


class Weighting(nn.Module):
    """Turns the tasks' losses into gradients.

    A loss-based weighting overrides `combine`; a gradient-based one is a `GradientWeighting`. Parameters are
    trained by the experiment's optimizer (without weight decay), and `state_dict` is in every checkpoint.
    Tasks without a label in a batch are absent from `losses`. What a class declares of itself below is what
    `musicemo.testing.check_weighting` holds it to.
    """

    #: Whether the shared parameters go the same way, if not as far, when a task's loss is multiplied by a constant.
    scale_invariant: bool = False
    #: Whether no step opposes any task's gradient on the shared parameters.
    conflict_free: bool = False
    #: Whether it is defined for losses above zero alone; a loss that may be negative is then refused.
    positive_losses: bool = False
    #: Whether it draws random numbers.
    stochastic: bool = False
    #: Whether `step_finished` wants the batch's losses under the new parameters: a forward pass more in each step.
    remeasures: bool = False

    def __init__(self, *, tasks: Sequence[str]) -> None:
        super().__init__()
        self.tasks = tuple(tasks)
        #: What the tasks weighed in the steps of this epoch.
        self.trace = WeightTrace(self.tasks)

    def combine(self, losses: Mapping[str, Tensor]) -> Tensor:
        """Return the objective, a scalar, from task -> loss."""
        raise NotImplementedError(f"{type(self).__name__} overrides neither combine nor backward")

    def backward(self, losses: Mapping[str, Tensor], step: Step) -> Tensor:
        """Accumulate gradients in the parameters' `.grad` and return the objective, a scalar.

        What a task weighs is the objective's derivative by its loss: traced here, whatever `combine` does.
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

    def _expect(self, method: str, found: object, shape: Sequence[int], what: str) -> None:
        """Refuse what an overridden method returns, unless it is a tensor of that shape."""
        if not isinstance(found, Tensor) or tuple(found.shape) != tuple(shape):
            told = f"shape {list(found.shape)}" if isinstance(found, Tensor) else type(found).__name__
            raise InputError(
                f"weighting {type(self).__name__}: {method} returns {told}; it returns {what}, here of shape "
                f"{list(shape)}"
            )

    def scalars(self) -> dict[str, float]:
        """Return what to record each epoch: ``weight/<task>``, by default the epoch's mean, and other state."""
        return self.trace.means()

    @torch.no_grad()
    def step_finished(self, losses: Mapping[str, Tensor]) -> None:
        """Be told the losses of the batch after the optimizer's step: those from before it, or see `remeasures`."""

    @torch.no_grad()
    def epoch_finished(self, losses: Mapping[str, float]) -> None:
        """Be told each task's training loss over the epoch."""


class GradientWeighting(Weighting):
    """Turns the tasks' gradients on the shared parameters into one; each head follows its own task's.

    Override `weigh`, or `aggregate` for a direction that is no weighted sum. Neither sees mixed precision's scale,
    a gradient that is not finite or gradients that are all zero, and neither is called if nothing shared is trained.
    """

    def weigh(self, gradients: Tensor, tasks: Sequence[str]) -> Tensor:
        """Return a weight per task `[tasks]` from their gradients `[tasks, parameters]`."""
        raise NotImplementedError(f"{type(self).__name__} overrides neither weigh nor aggregate")

    def aggregate(self, gradients: Tensor, tasks: Sequence[str]) -> Tensor:
        """Return one gradient `[parameters]` from the tasks' `[tasks, parameters]`."""
        weights = self.weigh(gradients, tasks)
        self._expect("weigh", weights, gradients.shape[:1], "a weight per task")
        self.trace.add(tasks, weights)
        return weights @ gradients

    def backward(self, losses: Mapping[str, Tensor], step: Step) -> Tensor:
        """Accumulate gradients in the parameters' `.grad` and return the losses' sum."""
        found = step.gradients(losses)
        if found.rows.numel():
            low, high = torch.aminmax(found.rows.detach())
            peak = float(torch.maximum(high, -low))
            usable = 0 < peak < math.inf  # of what is not finite, the sum is not either: the step is not taken
            with torch.no_grad():
                way = self.aggregate(found.rows, tuple(losses)) if usable else found.rows.sum(dim=0)
                self._expect("aggregate", way, found.rows.shape[1:], "one gradient")
                found.accumulate(way)
        return torch.stack(list(losses.values())).sum().detach()
