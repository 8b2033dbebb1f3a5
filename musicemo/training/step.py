"""Optimization steps, each on the gradients of one or more batches."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from musicemo.contracts import Step
from musicemo.data import Batch
from musicemo.errors import RunError
from musicemo.training.averaging import make_average
from musicemo.training.conflict import GradientConflict
from musicemo.training.optimization import Schedule, make_optimizer, trainable
from musicemo.training.precision import autocast
from musicemo.training.randomness import Repetition
from musicemo.training.run import Prepared
from musicemo.training.scoring import Collected

__all__ = ["OptimizationStep", "Taken"]


@dataclass(frozen=True, slots=True)
class Taken:
    """The losses of a batch, and the gradient of the step that it completes."""

    #: Task -> loss, before the step.
    losses: dict[str, float]
    objective: float
    #: Norm of the network's gradients before clipping; None if further batches belong to the step.
    gradient_norm: float | None


class OptimizationStep:
    """Computes the losses and gradients of batches, and takes a step with the optimizer after the last batch of each.

    The gradient of a step is the mean of its batches' gradients, weighted by their numbers of tracks.

    Args:
        prepared: whose network and weighting are trained.
        mode: ``min`` or ``max``, the better value of the quantity that a learning-rate schedule follows.
    """

    def __init__(self, prepared: Prepared, mode: str) -> None:
        settings = prepared.training
        self._prepared = prepared
        self._settings = settings
        self._objective = prepared.objective
        #: Sum of the weights of the batches of this step so far.
        self._total = 0.0
        self._optimizer = make_optimizer(settings.optimizer, prepared.network, prepared.weighting)
        self._schedule = Schedule(settings.schedule, self._optimizer, settings.epochs, mode)
        self._scaler = torch.amp.GradScaler(prepared.device.type, enabled=settings.precision == "float16")
        #: Average of the weights; None without one.
        self.average = make_average(settings.average, prepared.network)
        self._shared = [*trainable(prepared.network.backbone), *trainable(prepared.network.sums)]
        self._sharing, self._heads = prepared.network.trained_by()

    def __call__(
        self,
        batch: Batch,
        collected: Collected,
        where: str,
        conflict: GradientConflict | None = None,
        *,
        last: bool = True,
    ) -> Taken:
        """Add the gradient of a batch and, if it is the last one of a step, take the step.

        Args:
            batch: what to learn from.
            collected: takes in the batch's predictions.
            where: what an error says of the step.
            conflict: measures the tasks' gradients.
            last: whether the batch is the last one of a step.

        Raises:
            RunError: a loss or gradient that is not finite.
        """
        prepared = self._prepared
        again = (
            Repetition(prepared.network, prepared.device) if prepared.weighting.remeasures else nullcontext()
        )
        embedding, predictions, losses = self._forward(batch)
        values = dict(zip(losses, torch.stack(list(losses.values())).tolist(), strict=True))
        for name, value in values.items():
            if not math.isfinite(value):
                cause = "" if predictions[name].isfinite().all() else ": its predictions are not finite"
                raise RunError(f"{where}: the loss of task {name!r} is {value}{cause}")
        weight = len(batch.indices) / self._settings.batch_size if self._settings.accumulate > 1 else 1.0
        step = Step(embedding, self._shared, self._heads, self._scale(weight), self._sharing)
        if conflict:
            conflict.measure(losses, step)
        if not self._total:
            self._optimizer.zero_grad()
        self._total += weight
        objective = self._weigh(losses, step, where, values)
        collected.add(predictions, batch)
        if not last:
            return Taken(values, float(objective.detach()), None)
        self._average_gradients()
        self._scaler.unscale_(self._optimizer) if self._scaler.is_enabled() else None
        norm = self._gradient_norm(where, values)
        self._check_weighting(where, values)
        self._scaler.step(self._optimizer)
        self._scaler.update()
        if self.average is not None:
            self.average.step_finished(prepared.network)
        with torch.no_grad(), again:
            if prepared.weighting.remeasures:
                *_, losses = self._forward(batch)
            prepared.weighting.step_finished({name: loss.detach() for name, loss in losses.items()})
        return Taken(values, float(objective.detach()), norm)

    @property
    def learning_rate(self) -> float:
        """The one of the epoch, before any factors of some parameters."""
        group = self._optimizer.param_groups[0]
        return float(group["lr"] / group.get("rate", 1.0))

    def epoch_finished(self, followed: float) -> None:
        """Set the learning rate of the next epoch; a schedule may follow the value of the monitored quantity."""
        self._schedule.step(followed)

    def state_dict(self) -> dict[str, Any]:
        """Return the states of the optimizer, of its schedule, of mixed precision's scale and of the average."""
        return {
            **({"average": self.average.state_dict()} if self.average is not None else {}),
            "optimizer": self._optimizer.state_dict(),
            "schedule": self._schedule.state_dict(),
            "scaler": self._scaler.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a state; other keys in it are passed over."""
        self._optimizer.load_state_dict(state["optimizer"])
        self._schedule.load_state_dict(state["schedule"])
        self._scaler.load_state_dict(state["scaler"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])

    def _scale(self, weight: float) -> Callable[[Tensor], Tensor]:
        """Return the scaling of a loss: that of mixed precision, times the weight of the batch in its step."""
        if weight == 1.0:
            return self._scaler.scale
        return lambda loss: self._scaler.scale(loss) * weight

    def _average_gradients(self) -> None:
        """Divide the sum of the weighted gradients of a step by the sum of the weights."""
        total, self._total = self._total, 0.0
        if total != 1.0:
            for group in self._optimizer.param_groups:
                for parameter in group["params"]:
                    if parameter.grad is not None:
                        parameter.grad.div_(total)

    def _forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor], dict[str, Tensor]]:
        """Return the embedding, the predictions and the losses of a batch."""
        prepared, device = self._prepared, self._prepared.device
        with autocast(device, self._settings.precision):
            x, lengths = batch.x.to(device), batch.lengths.to(device)
            embedding = prepared.processes.embed(prepared.network, x, lengths, batch.indices)
            predictions = prepared.network.predict(embedding)
        predictions = {name: prediction.float() for name, prediction in predictions.items()}
        losses = self._objective(predictions, batch.targets, batch.indices, batch.series)
        if batch.more:
            losses = {name: batch.weight * loss for name, loss in losses.items()}
            for mixed in batch.more:
                further = self._objective(predictions, mixed.targets, mixed.indices, mixed.series)
                for name, loss in further.items():
                    losses[name] = losses.get(name, 0.0) + mixed.weight * loss
            losses = {task.name: losses[task.name] for task in prepared.tasks if task.name in losses}
        return embedding, predictions, losses

    def _weigh(
        self, losses: Mapping[str, Tensor], step: Step, where: str, values: Mapping[str, float]
    ) -> Tensor:
        """Take the weighting's backward pass and return its objective, which must be finite."""
        try:
            objective = self._prepared.weighting.backward(losses, step)
        except RunError as error:
            raise RunError(f"{where}: {error}; losses: {_listed(values)}") from error
        if not objective.detach().isfinite().all():
            name = type(self._prepared.weighting).__name__
            raise RunError(
                f"{where}: the objective of weighting {name} is {float(objective.detach())} "
                f"(losses: {_listed(values)})"
            )
        return objective

    def _gradient_norm(self, where: str, losses: Mapping[str, float]) -> float:
        """Return the norm of the network's gradients, after clipping them if that is asked for."""
        gradients = [p.grad for p in self._prepared.network.parameters() if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        value = float(norm)
        if not math.isfinite(value) and not self._scaler.is_enabled():  # float16 skips such a step by design
            raise RunError(f"{where}: a gradient is not finite (losses: {_listed(losses)})")
        limit = self._settings.clip_gradient_norm
        if limit is not None and math.isfinite(value):
            torch.nn.utils.clip_grads_with_norm_(self._prepared.network.parameters(), limit, norm)
        return value

    def _check_weighting(self, where: str, losses: Mapping[str, float]) -> None:
        """Refuse gradients of the weighting's own parameters that are not finite, and name the tasks."""
        if self._scaler.is_enabled():
            return
        weighting = self._prepared.weighting
        for name, parameter in weighting.named_parameters():
            if parameter.grad is None or parameter.grad.isfinite().all():
                continue
            of = ""
            if parameter.grad.shape == (len(weighting.tasks),):
                bad = (~parameter.grad.isfinite()).tolist()
                tasks = [task for task, is_bad in zip(weighting.tasks, bad, strict=True) if is_bad]
                of = f" of task {', '.join(map(repr, tasks))}"
            raise RunError(
                f"{where}: the gradient of the weighting's {name!r}{of} is not finite (losses: {_listed(losses)})"
            )


def _listed(losses: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {loss:.4g}" for name, loss in losses.items())
