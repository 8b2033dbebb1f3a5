"""The training loop."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

import torch

from musicemo.contracts import Estimator
from musicemo.data import Batches, Scaling, describe
from musicemo.errors import InputError, RunError
from musicemo.evaluation import Evaluation
from musicemo.training.checkpoint import load_checkpoint, plain, save_checkpoint, unreadable
from musicemo.training.conflict import GradientConflict
from musicemo.training.history import append_history, write_history
from musicemo.training.network import Network
from musicemo.training.objective import Objective
from musicemo.training.randomness import random_state, restore_random_state
from musicemo.training.resuming import NO_RESUME, Resumable, complete_best, resumable
from musicemo.training.run import Run
from musicemo.training.scoring import Collected, Scorer
from musicemo.training.settings import TrainingSettings
from musicemo.training.step import OptimizationStep

__all__ = ["Trainer"]

#: Tracks on which a network that was built anew is compared with the trained one, and how far they may be apart.
_COMPARED, _APART = 4, 1e-4


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
        rebuild: builds the network anew, to see that a checkpoint holds all of it; None leaves that out.
    """

    def __init__(
        self,
        run: Run,
        settings: TrainingSettings,
        objective: Objective,
        parts: Mapping[str, Batches],
        scaling: Scaling,
        hooks: _Hooks,
        rebuild: Callable[[], Network] | None = None,
    ) -> None:
        self.run = run
        self.settings = settings
        self.parts = parts
        self._objective = objective.to(run.device)
        self._scaling = scaling
        self._hooks = hooks
        self._rebuild = rebuild
        self._compared = False
        #: An estimator has none: it is fitted at once, without an optimizer.
        self._step = None if run.network.estimator else OptimizationStep(run, settings, self._objective)
        self._scorer = Scorer(run, self._objective, parts, settings.precision)
        watched = settings.gradient_diagnostics
        #: What the tasks' gradients do to one another, if that is measured.
        self.conflict = GradientConflict([task.name for task in run.tasks], watched.every) if watched else None
        self._random: dict[str, Any] | None = None
        self._folder = run.directory / "checkpoints"
        self._started = time.monotonic()

    def resume(self) -> None:
        """Continue from the last checkpoint, or from the best one if the last one is damaged.

        Raises:
            InputError: neither can be continued from; the network and the history are not to be used then.
        """
        problems: list[str] = []
        for found in resumable(self.run.directory, problems):
            try:
                self._restore(found)
            except torch.OutOfMemoryError:
                raise
            except InputError as error:
                problems += error.problems
                continue
            except Exception as error:  # what a state that is damaged makes a stranger's component raise
                what = (
                    f"it has no {error}" if isinstance(error, KeyError) else f"{type(error).__name__}: {error}"
                )
                problems.append(f"{found.path}: does not fit this run: {what}")
                continue
            complete_best(found)
            if problems:
                warnings.warn(
                    f"{'; '.join(problems)}; resumed from {found.path}, after epoch {len(found.history)}",
                    stacklevel=2,
                )
            return
        raise InputError(*dict.fromkeys(problems), NO_RESUME)

    def _restore(self, found: Resumable) -> None:
        state, run = found.state, self.run
        run.network.load(state["network"], str(found.path))
        run.weighting.load_state_dict(state["weighting"])
        if self._step:
            self._step.load_state_dict(state)
        run.stopping.load_state_dict(state["stopping"])
        if self.conflict:
            self.conflict.load_state_dict(state["conflict"])
        restore_random_state(state["random"])
        self._random = state["random"]
        self._started = time.monotonic() - state["seconds"]
        if threads := state.get("threads"):  # sums over other numbers of threads differ in the last digits
            torch.set_num_threads(threads)
        run.history[:] = [MappingProxyType(record) for record in found.history]

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
        lines = self.run.directory / "history.jsonl"
        write_history(lines, self.run.history)
        first = len(self.run.history) + 1
        for epoch in range(first, self.settings.epochs + 1):
            if first > 1 and self.run.stopping.stop(epoch - 1):
                break
            self._hooks("epoch_started", run=self.run, epoch=epoch)
            trained = (
                self._fit(self.run.network.estimator) if self.run.network.estimator else self._train(epoch)
            )
            scores = {**trained, **self._scorer.validate()}
            record = {"epoch": epoch, **{name: float(value) for name, value in scores.items()}}
            self.run.history.append(MappingProxyType(record))
            best, best_of = self.run.stopping.take(self.run.history)
            if self._step:
                self._step.epoch_finished()
            append_history(lines, record)
            state = self._state()
            save_checkpoint(self._folder, state, best=best, best_of=best_of)
            if epoch == first:  # not only when the training is over
                self._check_first(state)
            self._hooks("epoch_finished", run=self.run, record=dict(record))
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
        assert self._step is not None
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
        """Give the network the weights of the best epoch, or of a task's own best, where those are kept.

        Raises:
            InputError: the checkpoint is missing or damaged.
            RunError: the network predicts otherwise than a new one with these weights.
        """
        path = self._folder / ("best.pt" if task is None else f"best-{task}.pt")
        state = load_checkpoint(path)
        self.run.network.load(state.get("network", {}), str(path))
        if task is None and not self._compared:
            self._compare_with_new(path, state)
            self._compared = True

    def _check_first(self, state: Mapping[str, Any]) -> None:
        """Read the first checkpoint back, and compare the network with a new one that has its weights.

        Raises:
            RunError: the checkpoint cannot be read, or does not hold all of the network.
        """
        path = self._folder / "last.pt"
        try:
            written = load_checkpoint(path)
        except InputError as error:
            if not (value := unreadable(state)):
                raise
            raise RunError(
                f"{path}: cannot be read back because of {value}: a checkpoint holds tensors, numbers, text, lists "
                "and dictionaries"
            ) from error
        self._compare_with_new(path, written)

    @torch.no_grad()
    def _compare_with_new(self, path: Path, state: Mapping[str, Any]) -> None:
        """Compare the network with one that is built anew and has the same weights, on a few tracks.

        Raises:
            RunError: their predictions differ: something that was learned is not in the checkpoint.
        """
        if self._rebuild is None:
            return
        run, before = self.run, random_state()
        advice = "register what it learns as parameters or buffers, so that a checkpoint holds it"
        try:
            new = self._rebuild()
            new.load(state["network"], str(path))
            batch = next(self.parts["val" if "val" in self.parts else "train"].epoch()).to(run.device)
            x, lengths, targets = (part[:_COMPARED] for part in (batch.x, batch.lengths, batch.targets))
            predictions = []
            for network in (run.network, new):
                restore_random_state(before)
                network.eval()
                predictions.append(network(x, lengths, network.known_labels(targets, run.tasks))[1])
        except InputError as error:
            raise RunError(
                f"a new network cannot take the weights of the trained one: {error}; {advice}"
            ) from error
        finally:
            restore_random_state(before)
        for name, trained in predictions[0].items():
            scale = float(trained.abs().nan_to_num().max().clamp(min=1.0))
            if not torch.allclose(
                trained.float(), predictions[1][name].float(), atol=_APART * scale, equal_nan=True
            ):
                apart = float((trained - predictions[1][name]).abs().max())
                raise RunError(
                    f"the model keeps state that is not in its state_dict: a new network with the weights of {path} "
                    f"predicts {name!r} otherwise, by {apart:.2g}; {advice}"
                )

    def _train(self, epoch: int) -> dict[str, float]:
        step = self._step
        assert step is not None
        self.run.network.train()
        self.run.weighting.trace.clear()
        collected = Collected()
        totals = [0.0, 0.0]
        batches = self.parts["train"]
        for number, batch in enumerate(batches.epoch(epoch), start=1):
            due = self.conflict is not None and self.conflict.due((epoch - 1) * len(batches) + number - 1)
            where = f"epoch {epoch}, batch {number}"
            taken = step(batch, collected, where, self.conflict if due else None)
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
        record["learning_rate"] = step.learning_rate
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
            "description": plain(describe(run.tracks, run.split, run.features).to_state()),
            "network": run.network.state_dict(),
            "weighting": run.weighting.state_dict(),
            **(self._step.state_dict() if self._step else {}),
            "stopping": plain(self.run.stopping.state_dict()),
            "random": random_state(),
            "scaling": {
                "offset": torch.from_numpy(self._scaling.offset),
                "scale": torch.from_numpy(self._scaling.scale),
            },
            **({"conflict": self.conflict.state_dict()} if self.conflict else {}),
            "threads": torch.get_num_threads(),
            "seconds": self.seconds,
        }
