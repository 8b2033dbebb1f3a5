"""The training loop."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from musicemo.contracts import Estimator, Step
from musicemo.data import Batch, Batches, Scaling, describe
from musicemo.errors import InputError, RunError
from musicemo.evaluation import Evaluation
from musicemo.training.checkpoint import load_checkpoint, save_checkpoint
from musicemo.training.conflict import GradientConflict
from musicemo.training.evaluate import Collected, autocast, collect_predictions, to_evaluation
from musicemo.training.objective import Objective
from musicemo.training.optimization import Schedule, make_optimizer, trainable
from musicemo.training.randomness import random_state, restore_random_state
from musicemo.training.repetition import Repetition
from musicemo.training.run import Run
from musicemo.training.selection import MEAN_IMPROVEMENT, mean_improvement, mean_predictor_losses
from musicemo.training.settings import TrainingSettings

__all__ = ["Trainer"]


class _Hooks(Protocol):
    def __call__(self, hook: str, **arguments: Any) -> None: ...


class Trainer:
    """Fits a run's network, recording each epoch and keeping its checkpoints.

    Args:
        run: the run; its history grows.
        settings: the table ``[training]``.
        objective: each task's loss.
        parts: the batches of ``train``, and of ``val`` and ``test`` where they are not empty.
        scaling: the features' scaling, which a checkpoint carries.
        hooks: called with a hook's name and arguments.
    """

    def __init__(
        self,
        run: Run,
        settings: TrainingSettings,
        objective: Objective,
        parts: Mapping[str, Batches],
        scaling: Scaling,
        hooks: _Hooks,
    ) -> None:
        self.run = run
        self.settings = settings
        self.parts = parts
        self._objective = objective.to(run.device)
        self._scaling = scaling
        self._hooks = hooks
        self._optimizer = make_optimizer(settings.optimizer, run.network, run.weighting)
        self._schedule = Schedule(settings.schedule, self._optimizer, settings.epochs, self.run.stopping.mode)
        self._scaler = torch.amp.GradScaler(run.device.type, enabled=settings.precision == "float16")
        self._shared = trainable(run.network.backbone)
        self._heads = {name: trainable(head) for name, head in run.network.heads.items()}

        watched = settings.gradient_diagnostics
        #: What the tasks' gradients do to one another, if that is measured.
        self.conflict = GradientConflict([task.name for task in run.tasks], watched.every) if watched else None
        self._random: dict[str, Any] | None = None
        self._reference: dict[str, float] | None = None
        self._folder = run.directory / "checkpoints"
        self._started = time.monotonic()

    def resume(self) -> None:
        """Continue from the last checkpoint.

        Raises:
            InputError: it is damaged, or of another network.
        """
        path = self._folder / "last.pt"
        state = load_checkpoint(path)
        try:
            self.run.network.load(state["network"], str(path))
            self.run.weighting.load_state_dict(state["weighting"])
            self._optimizer.load_state_dict(state["optimizer"])
        except (KeyError, ValueError, RuntimeError) as error:
            raise (
                error if isinstance(error, InputError) else InputError(f"{path}: does not fit: {error}")
            ) from error
        self._schedule.load_state_dict(state["schedule"])
        self._scaler.load_state_dict(state["scaler"])
        self.run.stopping.load_state_dict(state["stopping"])
        if self.conflict:
            self.conflict.load_state_dict(state["conflict"])
        self.run.history[:] = state["history"]
        self._random = state["random"]
        self._started -= state["seconds"]

    @property
    def seconds(self) -> float:
        """Time since training began, that before a resumption included."""
        return time.monotonic() - self._started

    def fit(self) -> None:
        """Train until the epochs or the patience are used up.

        Raises:
            RunError: a loss or gradient that is not finite, with its epoch, batch and task.
        """
        if self._random:  # only now, since a plugin may draw random numbers when the run starts
            restore_random_state(self._random)
        first = len(self.run.history) + 1
        for epoch in range(first, self.settings.epochs + 1):
            if first > 1 and self.run.stopping.stop(epoch - 1):
                break
            self._hooks("epoch_started", run=self.run, epoch=epoch)
            trained = (
                self._fit(self.run.network.estimator) if self.run.network.estimator else self._train(epoch)
            )
            record = {"epoch": epoch, **trained, **self._validate()}
            self.run.history.append(record)
            best, best_of = self.run.stopping.take(self.run.history)
            self._schedule.step(self.run.stopping.followed)
            save_checkpoint(self._folder, self._state(), best=best, best_of=best_of)
            self._hooks("epoch_finished", run=self.run, record=record)
            if self.run.stopping.stop(epoch):
                break
        if not math.isfinite(self.run.stopping.best_value):
            warnings.warn(
                f"{self.run.stopping.monitor} was not defined in any epoch: the first counts as the best",
                stacklevel=2,
            )

    def evaluate(self, part: str) -> Evaluation:
        """Evaluate the network, as it is now, on a part."""
        predictions, targets, indices = self._predict(part)
        ids = self.run.tracks.ids
        return to_evaluation(predictions, targets, [ids[index] for index in indices], self.run.tasks)

    def time_steps(self, steps: int) -> list[float]:
        """Take up to so many optimization steps of the first epoch, and return the seconds of each.

        Nothing is recorded, no hook is called, and the network is not what it was.
        """
        self.run.network.train()
        seconds: list[float] = []
        began = time.monotonic()
        for number, batch in enumerate(self.parts["train"].epoch(1), start=1):
            self._step(batch, Collected(), f"step {number}", watch=False)
            seconds.append(time.monotonic() - began)
            if number == steps:
                break
            began = time.monotonic()
        return seconds

    def load_best(self, task: str | None = None) -> None:
        """Give the network the weights of the best epoch, or of a task's own best, where those are kept."""
        path = self._folder / ("best.pt" if task is None else f"best-{task}.pt")
        self.run.network.load(load_checkpoint(path)["network"], str(path))

    def _train(self, epoch: int) -> dict[str, float]:
        self.run.network.train()
        self.run.weighting.trace.clear()
        collected = Collected()
        totals = [0.0, 0.0]
        batches = self.parts["train"]
        for number, batch in enumerate(batches.epoch(epoch), start=1):
            watch = self.conflict is not None and self.conflict.due((epoch - 1) * len(batches) + number - 1)
            where = f"epoch {epoch}, batch {number}"
            losses, objective, norm = self._step(batch, collected, where, watch=watch)
            totals[0] += objective / len(batches)
            totals[1] += norm / len(batches)
            self._hooks("batch_finished", run=self.run, epoch=epoch, batch=number, losses=losses)
        predictions, targets, _ = collected.finish()
        record = self._score("train", predictions, targets)
        self.run.weighting.epoch_finished(
            {
                task.name: record[f"train/{task.name}/loss"]
                for task in self.run.tasks
                if f"train/{task.name}/loss" in record
            }
        )
        diagnostics = self._objective.diagnostics(predictions, targets)
        record |= {"train/objective": totals[0], "train/gradient_norm": totals[1]}
        record |= {"learning_rate": self._optimizer.param_groups[0]["lr"], **self._weights()}
        record |= self.conflict.finish_epoch() if self.conflict else {}
        return record | {f"train/{name}": value for name, value in diagnostics.items()}

    def _fit(self, estimator: Estimator) -> dict[str, float]:
        """Fit an estimator to the training part, and score it there."""
        part = self.parts["train"]
        estimator.fit(
            part.tracks(),
            {task.name: part.targets[:, column] for column, task in enumerate(self.run.tasks)},
        )
        estimator.to(self.run.device)
        predictions, targets, _ = self._predict("train")
        for name, prediction in predictions.items():
            if not prediction.isfinite().all():
                raise RunError(f"the fitted model's predictions of task {name!r} are not finite")
        return self._score("train", predictions, targets)

    def _step(
        self, batch: Batch, collected: Collected, where: str, *, watch: bool
    ) -> tuple[dict[str, float], float, float]:
        """Take one optimization step; return the losses, the objective and the gradients' norm."""
        run = self.run
        again = Repetition(run.network, run.device) if run.weighting.remeasures else nullcontext()
        embedding, predictions, losses = self._forward(batch)
        values = dict(zip(losses, torch.stack(list(losses.values())).tolist(), strict=True))
        for name, value in values.items():
            if not math.isfinite(value):
                cause = "" if predictions[name].isfinite().all() else ": its predictions are not finite"
                raise RunError(f"{where}: the loss of task {name!r} is {value}{cause}")
        step = Step(embedding, self._shared, self._heads, self._scaler.scale)
        if self.conflict and watch:
            self.conflict.measure(losses, step)
        self._optimizer.zero_grad()
        objective = run.weighting.backward(losses, step)
        self._scaler.unscale_(self._optimizer) if self._scaler.is_enabled() else None
        norm = self._gradient_norm(where, values)
        self._scaler.step(self._optimizer)
        self._scaler.update()
        with torch.no_grad(), again:
            if run.weighting.remeasures:
                *_, losses = self._forward(batch)
            run.weighting.step_finished({name: loss.detach() for name, loss in losses.items()})
        collected.add(predictions, batch.targets, batch.indices)
        return values, float(objective.detach()), norm

    def _forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor], dict[str, Tensor]]:
        """Return the embedding, the predictions and the losses of a batch."""
        run, device = self.run, self.run.device
        with autocast(device, self.settings.precision):
            embedding, predictions = run.network(batch.x.to(device), batch.lengths.to(device))
        predictions = {name: prediction.float() for name, prediction in predictions.items()}
        return embedding, predictions, self._objective(predictions, batch.targets)

    def _gradient_norm(self, where: str, losses: Mapping[str, float]) -> float:
        """Return the norm of the network's gradients, after clipping them if that is asked for."""
        gradients = [p.grad for p in self.run.network.parameters() if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        value = float(norm)
        if not math.isfinite(value) and not self._scaler.is_enabled():  # float16 skips such a step by design
            raise RunError(f"{where}: a gradient is not finite (losses: {_listed(losses)})")
        limit = self.settings.clip_gradient_norm
        if limit is not None and math.isfinite(value):
            torch.nn.utils.clip_grads_with_norm_(self.run.network.parameters(), limit, norm)
        return value

    @torch.no_grad()
    def _weights(self) -> dict[str, float]:
        return {name: float(value) for name, value in self.run.weighting.scalars().items()}

    def _validate(self) -> dict[str, float]:
        if "val" not in self.parts:
            return {}
        predictions, targets, _ = self._predict("val")
        record = self._score("val", predictions, targets)
        if len(self.run.tasks) > 1:
            if self._reference is None:
                labels = self.run.tracks.targets[self.run.split.parts["train"]]
                self._reference = mean_predictor_losses(self._objective, labels, targets, self.run.device)
            record[MEAN_IMPROVEMENT] = mean_improvement(record, self._reference)
        return record

    def _predict(self, part: str) -> tuple[dict[str, Tensor], Tensor, NDArray[np.intp]]:
        run = self.run
        return collect_predictions(
            run.network, self.parts[part], run.tasks, run.device, self.settings.precision
        )

    @torch.no_grad()
    def _score(self, part: str, predictions: Mapping[str, Tensor], targets: Tensor) -> dict[str, float]:
        """Return a part's losses, computed on the part as a whole, and its metrics."""
        on_device = {name: prediction.to(self.run.device) for name, prediction in predictions.items()}
        losses = {name: float(loss) for name, loss in self._objective(on_device, targets).items()}
        record = {f"{part}/loss": sum(losses.values())}
        evaluation = to_evaluation(predictions, targets, [""] * len(targets), self.run.tasks)
        for name, task in evaluation.tasks.items():
            if name in losses:
                record[f"{part}/{name}/loss"] = losses[name]
                metrics = task.metrics()
                record |= {f"{part}/{name}/{metric}": metrics[metric] for metric in task.names}
        return record

    def _state(self) -> dict[str, Any]:
        run = self.run
        return {
            "epoch": len(run.history),
            "description": describe(run.tracks, run.split, run.features).to_state(),
            "network": run.network.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "weighting": run.weighting.state_dict(),
            "schedule": self._schedule.state_dict(),
            "scaler": self._scaler.state_dict(),
            "stopping": self.run.stopping.state_dict(),
            "random": random_state(),
            "scaling": {
                "offset": torch.from_numpy(self._scaling.offset),
                "scale": torch.from_numpy(self._scaling.scale),
            },
            **({"conflict": self.conflict.state_dict()} if self.conflict else {}),
            "history": run.history,
            "seconds": self.seconds,
        }


def _listed(values: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in values.items())
