"""The two ways to fit a network: by gradients, epoch after epoch, and in one go."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import nn

from musicemo.contracts import Estimator
from musicemo.data import Batch, columns
from musicemo.errors import RunError
from musicemo.training.averaging import recompute_statistics
from musicemo.training.conflict import GradientConflict
from musicemo.training.precision import autocast
from musicemo.training.run import Prepared
from musicemo.training.scoring import Collected, Scorer
from musicemo.training.step import OptimizationStep

__all__ = ["Fitter", "GradientFitter", "OneShotFitter", "make_fitter"]

#: Called with an epoch, a batch and the losses of its tasks, after each optimizer step.
BatchFinished = Callable[[int, int, Mapping[str, float]], None]


class Fitter(Protocol):
    """Fits the network of a run."""

    @property
    def modules(self) -> Sequence[nn.Module]:
        """Modules beside the network and the weighting that are the same in every process."""

    def fit(self, epoch: int, batch_finished: BatchFinished) -> dict[str, float]:
        """Fit the network to the training set for an epoch; return the scores on it.

        Raises:
            RunError: a loss, a gradient or a prediction is not finite.
        """

    def epoch_finished(self, followed: float) -> None:
        """Prepare for the next epoch, once the value that a learning-rate schedule may follow is known."""

    def time_steps(self, steps: int) -> list[float]:
        """Train on up to `steps` batches of the first epoch and return the seconds of each.

        The network is changed by it, and nothing is recorded. One that takes no steps returns nothing.
        """

    def results(self) -> dict[str, Any]:
        """Return what `results.json` records of the fitting."""

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint holds beside the network and the weighting."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a checkpoint, whose other keys are ignored."""


def make_fitter(prepared: Prepared, scorer: Scorer, mode: str) -> Fitter:
    """Return the fitter of a network.

    Args:
        prepared: what is trained.
        scorer: scores the training set.
        mode: ``min`` or ``max``, the better value of the quantity that a learning-rate schedule follows.
    """
    if prepared.network.estimator:
        return OneShotFitter(prepared, scorer, prepared.network.estimator)
    return GradientFitter(prepared, scorer, mode)


class GradientFitter:
    """Fits a network by gradients: an optimizer step for each batch, or for several.

    Args:
        prepared: what is trained.
        scorer: scores the training set.
        mode: see `make_fitter`.
    """

    def __init__(self, prepared: Prepared, scorer: Scorer, mode: str) -> None:
        self._prepared = prepared
        self._scorer = scorer
        self._step = OptimizationStep(prepared, mode)
        self._share = prepared.processes.share if prepared.processes.size > 1 else None
        watched = prepared.training.gradient_diagnostics
        names = [task.name for task in prepared.tasks]
        self._conflict = GradientConflict(names, watched.every) if watched else None

    @property
    def modules(self) -> Sequence[nn.Module]:
        """The average of the weights, if there is one."""
        return [self._step.average] if self._step.average is not None else []

    def fit(self, epoch: int, batch_finished: BatchFinished) -> dict[str, float]:
        """Take the steps of the epoch; return the scores, averaged diagnostics and the learning rate.

        With `[training] average`, the network has the averaged weights afterwards.
        """
        prepared, conflict = self._prepared, self._conflict
        prepared.network.train()
        prepared.weighting.trace.clear()
        collected = Collected()
        totals = [0.0, 0.0]
        batches = prepared.batches["train"]
        average, accumulate = self._step.average, prepared.training.accumulate
        count = len(batches)
        steps = math.ceil(count / accumulate)
        with average.exchanged(prepared.network) if average is not None else contextlib.nullcontext():
            for number, batch in enumerate(batches.epoch(epoch, self._share), start=1):
                step, place = divmod(number - 1, accumulate)
                due = conflict is not None and place == 0 and conflict.due((epoch - 1) * steps + step)
                where = f"epoch {epoch}, batch {number}"
                taken = self._step(
                    batch, collected, where, conflict if due else None, last=self._last(number, count)
                )
                totals[0] += taken.objective / count
                if taken.gradient_norm is not None:
                    totals[1] += taken.gradient_norm / steps
                batch_finished(epoch, number, taken.losses)
            if average is not None:
                average.epoch_finished(prepared.network)
        if average is not None and average.recomputes:
            recompute_statistics(prepared.network, batches.epoch(), self._predict)
        predicted = collected.finish()
        record = self._scorer.score("train", predicted)
        prepared.weighting.epoch_finished(
            {
                task.name: record[f"train/{task.name}/loss"]
                for task in prepared.tasks
                if f"train/{task.name}/loss" in record
            }
        )
        diagnostics = prepared.objective.diagnostics(
            predicted.values, predicted.targets, predicted.indices, predicted.series
        )
        record |= {"train/objective": totals[0], "train/gradient_norm": totals[1]}
        record["learning_rate"] = self._step.learning_rate
        with torch.no_grad():
            record |= {name: float(value) for name, value in prepared.weighting.scalars().items()}
            record |= {
                f"layer/{stream}/{output}": weight
                for stream, weights in prepared.layer_weights.items()
                for output, weight in weights.items()
            }
        record |= conflict.finish_epoch() if conflict else {}
        return record | {f"train/{name}": value for name, value in diagnostics.items()}

    def epoch_finished(self, followed: float) -> None:
        """Set the learning rate of the next epoch."""
        self._step.epoch_finished(followed)

    def _predict(self, batch: Batch) -> None:
        """Pass a whole batch through the network, in every process."""
        prepared = self._prepared
        moved = batch.to(prepared.device)
        with autocast(prepared.device, prepared.training.precision):
            prepared.network.represent(prepared.network(moved.x, moved.lengths))

    def _last(self, number: int, count: int) -> bool:
        """Return whether a batch, counted from 1, is the last one of an optimizer step in an epoch of `count`."""
        return number % self._prepared.training.accumulate == 0 or number == count

    def time_steps(self, steps: int) -> list[float]:
        """Train on up to `steps` batches of the first epoch and return the seconds of each."""
        self._prepared.network.train()
        seconds: list[float] = []
        batches = self._prepared.batches["train"]
        count = len(batches)
        began = time.monotonic()
        for number, batch in enumerate(batches.epoch(1, self._share), start=1):
            self._step(batch, Collected(), f"step {number}", last=self._last(number, count))
            seconds.append(time.monotonic() - began)
            if number == steps:
                break
            began = time.monotonic()
        return seconds

    def results(self) -> dict[str, Any]:
        """Return the conflicts of the tasks' gradients, if they are measured."""
        return {"gradients": self._conflict.summary()} if self._conflict else {}

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the optimization step, and the conflicts so far."""
        conflict = {"conflict": self._conflict.state_dict()} if self._conflict else {}
        return self._step.state_dict() | conflict

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a checkpoint."""
        self._step.load_state_dict(state)
        if self._conflict:
            self._conflict.load_state_dict(state["conflict"])


class OneShotFitter:
    """Fits an estimator to the training set in one go, without an optimizer.

    Args:
        prepared: what is trained; its network has the estimator as its backbone.
        scorer: scores the training set.
        estimator: the backbone.
    """

    def __init__(self, prepared: Prepared, scorer: Scorer, estimator: Estimator) -> None:
        self._prepared = prepared
        self._scorer = scorer
        self._estimator = estimator

    @property
    def modules(self) -> Sequence[nn.Module]:
        """None: the network holds all that is learned."""
        return []

    def fit(self, epoch: int, batch_finished: BatchFinished) -> dict[str, float]:
        """Fit the estimator; return the scores on the training set."""
        train = self._prepared.batches["train"]
        targets = {name: train.targets[:, place] for name, place in columns(self._prepared.tasks).items()}
        self._estimator.fit(train.tracks(), {**targets, **train.series})
        self._estimator.to(self._prepared.device)
        predicted = self._scorer.predict("train")
        for name, prediction in predicted.values.items():
            if not prediction.isfinite().all():
                raise RunError(f"the fitted model's predictions of task {name!r} are not finite")
        return self._scorer.score("train", predicted)

    def epoch_finished(self, followed: float) -> None:
        """Do nothing: there is one epoch."""

    def time_steps(self, steps: int) -> list[float]:
        """Return nothing: there are no steps."""
        return []

    def results(self) -> dict[str, Any]:
        """Return nothing."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """Return nothing: the network holds all that is learned."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Do nothing."""
