"""The training loop."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Mapping
from typing import Any, Protocol

import torch

from musicemo.contracts import Estimator
from musicemo.data import Batches, Scaling, describe
from musicemo.errors import InputError, RunError
from musicemo.evaluation import Evaluation
from musicemo.training.checkpoint import load_checkpoint, save_checkpoint
from musicemo.training.conflict import GradientConflict
from musicemo.training.evaluate import Collected
from musicemo.training.objective import Objective
from musicemo.training.randomness import random_state, restore_random_state
from musicemo.training.run import Run
from musicemo.training.scoring import Scorer
from musicemo.training.settings import TrainingSettings
from musicemo.training.step import OptimizationStep

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
        self._step = OptimizationStep(run, settings, self._objective)
        self._scorer = Scorer(run, self._objective, parts, settings.precision)
        watched = settings.gradient_diagnostics
        #: What the tasks' gradients do to one another, if that is measured.
        self.conflict = GradientConflict([task.name for task in run.tasks], watched.every) if watched else None
        self._random: dict[str, Any] | None = None
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
            self._step.load_state_dict(state)
            self.run.stopping.load_state_dict(state["stopping"])
            if self.conflict:
                self.conflict.load_state_dict(state["conflict"])
            restore_random_state(state["random"])
            self._random = state["random"]
            self._started -= state["seconds"]
            self.run.history[:] = [dict(record) for record in state["history"]]
        except (InputError, torch.OutOfMemoryError):
            raise
        except Exception as error:  # what a state that is damaged makes a stranger's component raise
            raise InputError(f"{path}: does not fit: {type(error).__name__}: {error}") from error

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
            record = {"epoch": epoch, **trained, **self._scorer.validate()}
            self.run.history.append(record)
            best, best_of = self.run.stopping.take(self.run.history)
            self._step.epoch_finished()
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
        return self._scorer.evaluate(part)

    def time_steps(self, steps: int) -> list[float]:
        """Take up to so many optimization steps of the first epoch, and return the seconds of each.

        Nothing is recorded, no hook is called, and the network is not what it was.
        """
        self.run.network.train()
        seconds: list[float] = []
        began = time.monotonic()
        for number, batch in enumerate(self.parts["train"].epoch(1), start=1):
            self._step(batch, Collected(), f"step {number}")
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
            due = self.conflict is not None and self.conflict.due((epoch - 1) * len(batches) + number - 1)
            where = f"epoch {epoch}, batch {number}"
            taken = self._step(batch, collected, where, self.conflict if due else None)
            totals[0] += taken.objective / len(batches)
            totals[1] += taken.gradient_norm / len(batches)
            self._hooks("batch_finished", run=self.run, epoch=epoch, batch=number, losses=taken.losses)
        predictions, targets, _ = collected.finish()
        record = self._scorer.score("train", predictions, targets)
        self.run.weighting.epoch_finished(
            {
                task.name: record[f"train/{task.name}/loss"]
                for task in self.run.tasks
                if f"train/{task.name}/loss" in record
            }
        )
        diagnostics = self._objective.diagnostics(predictions, targets)
        record |= {"train/objective": totals[0], "train/gradient_norm": totals[1]}
        record["learning_rate"] = self._step.learning_rate
        with torch.no_grad():
            record |= {name: float(value) for name, value in self.run.weighting.scalars().items()}
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
        predictions, targets, _ = self._scorer.predict("train")
        for name, prediction in predictions.items():
            if not prediction.isfinite().all():
                raise RunError(f"the fitted model's predictions of task {name!r} are not finite")
        return self._scorer.score("train", predictions, targets)

    def _state(self) -> dict[str, Any]:
        run = self.run
        return {
            "epoch": len(run.history),
            "description": describe(run.tracks, run.split, run.features).to_state(),
            "network": run.network.state_dict(),
            "weighting": run.weighting.state_dict(),
            **self._step.state_dict(),
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
