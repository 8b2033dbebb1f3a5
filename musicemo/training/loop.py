"""The training loop."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

import torch

from musicemo.data import describe
from musicemo.errors import InputError, RunError
from musicemo.evaluation import Evaluation
from musicemo.training.checkpoint import load_checkpoint, save_checkpoint, storable, unreadable
from musicemo.training.fitters import make_fitter
from musicemo.training.history import append_history, write_history
from musicemo.training.randomness import random_state, restore_random_state
from musicemo.training.resuming import NO_RESUME, Resumable, complete_best, resumable
from musicemo.training.run import Prepared, Run
from musicemo.training.scoring import Scorer
from musicemo.training.settings import SWA

__all__ = ["Follower", "Recorder", "Trainer"]

_log = logging.getLogger(__name__)

#: Tracks on which a network that was built anew is compared with the trained one, and how far they may be apart.
_COMPARED, _APART = 4, 1e-4


class _Hooks(Protocol):
    def __call__(self, hook: str, **arguments: Any) -> None: ...


class Recorder:
    """Records a training: its history and checkpoints in the run directory, and every event in the lifecycle hooks.

    Args:
        run: the run; its history grows.
        hooks: called with a hook's name and arguments.
    """

    def __init__(self, run: Run, hooks: _Hooks) -> None:
        self._run = run
        self._hooks = hooks
        self.directory = run.directory
        self.checkpoints = run.directory / "checkpoints"
        self.stopping = run.stopping
        self.clock = run.clock
        self.history: Sequence[Mapping[str, float]] = run.history

    def start(self) -> None:
        """Write the epochs before a resumption to `history.jsonl`."""
        write_history(self.directory / "history.jsonl", self.history)

    def restore(self, history: Sequence[Mapping[str, float]]) -> None:
        """Continue a history."""
        self._run.history[:] = [MappingProxyType(dict(record)) for record in history]

    def epoch_started(self, epoch: int) -> None:
        """Call the hook."""
        self._hooks("epoch_started", run=self._run, epoch=epoch)

    def batch_finished(self, epoch: int, batch: int, losses: Mapping[str, float]) -> None:
        """Call the hook."""
        self._hooks("batch_finished", run=self._run, epoch=epoch, batch=batch, losses=losses)

    def add(self, record: Mapping[str, float]) -> None:
        """Add an epoch to the history, in memory."""
        self._run.history.append(MappingProxyType(dict(record)))

    def write(self, state: dict[str, Any], *, best: bool, best_of: Sequence[str]) -> None:
        """Write the last epoch to `history.jsonl`, and its checkpoints.

        Args:
            state: the content of a checkpoint.
            best: whether the epoch is the best so far.
            best_of: tasks of which it is the best so far.
        """
        append_history(self.directory / "history.jsonl", self.history[-1])
        save_checkpoint(self.checkpoints, state, best=best, best_of=best_of)

    def epoch_finished(self) -> None:
        """Call the hook."""
        self._hooks("epoch_finished", run=self._run, record=dict(self.history[-1]))


class Follower(Recorder):
    """Keeps the history of a training that another process records.

    Args:
        run: the run; its history grows.
    """

    def __init__(self, run: Run) -> None:
        super().__init__(run, lambda hook, **arguments: None)

    def start(self) -> None:
        """Write nothing."""


class Trainer:
    """Fits a network, recording each epoch and keeping its checkpoints.

    Args:
        prepared: what is trained.
        recorder: records the epochs.
    """

    def __init__(self, prepared: Prepared, recorder: Recorder) -> None:
        self._prepared = prepared
        self._recorder = recorder
        self._scorer = Scorer(prepared)
        self.fitter = make_fitter(prepared, self._scorer, recorder.stopping.mode)
        self._compared = False
        self._random: dict[str, Any] | None = None
        #: Seconds of training before a resumption.
        self._before = 0.0

    def resume(self) -> None:
        """Continue from the last checkpoint, or from the best one if the last one is damaged.

        Raises:
            InputError: neither can be continued from; the network and the history are not to be used then.
        """
        problems: list[str] = []
        for checkpoint in resumable(self._recorder.directory, problems):
            try:
                self._restore(checkpoint)
            except torch.OutOfMemoryError:
                raise
            except InputError as error:
                problems += error.problems
                continue
            except Exception as error:  # what a state that is damaged makes a stranger's component raise
                what = (
                    f"it has no {error}" if isinstance(error, KeyError) else f"{type(error).__name__}: {error}"
                )
                problems.append(f"{checkpoint.path}: does not fit this run: {what}")
                continue
            complete_best(checkpoint)
            if problems:
                _log.warning(
                    f"{'; '.join(problems)}; resumed from {checkpoint.path}, after epoch {len(checkpoint.history)}"
                )
            return
        raise InputError(*dict.fromkeys(problems), NO_RESUME)

    def _restore(self, checkpoint: Resumable) -> None:
        state = checkpoint.state
        self._prepared.network.load(state["network"], str(checkpoint.path))
        self._prepared.weighting.load_state_dict(state["weighting"])
        self.fitter.load_state_dict(state)
        self._recorder.stopping.load_state_dict(state["stopping"])
        restore_random_state(state["random"])
        self._random = state["random"]
        self._recorder.clock.seconds = self._before = state["seconds"]
        if threads := state.get("threads"):  # sums over other numbers of threads differ in the last digits
            torch.set_num_threads(threads)
        self._recorder.restore(checkpoint.history)

    def join(self) -> None:
        """Give every process that trains the network the state of the first one, also of a run that is resumed."""
        processes, recorder = self._prepared.processes, self._recorder
        if processes.size == 1:
            return
        state = self._state() if processes.first else None
        state, history = processes.from_first((state, [dict(record) for record in recorder.history]))
        if processes.first:
            self._random = state["random"]
        else:
            self._restore(Resumable(recorder.directory, state, history, []))

    @property
    def seconds(self) -> float:
        """Seconds of training so far, including those before a resumption."""
        return self._recorder.clock.seconds

    def fit(self) -> None:
        """Train until the epochs or the patience are used up, or until a lifecycle plugin stops the run.

        Raises:
            RunError: a loss or gradient that is not finite, with its epoch, batch and task.
        """
        if self._random:  # only now, since a plugin may draw random numbers when the run starts
            restore_random_state(self._random)
        recorder, stopping, processes = self._recorder, self._recorder.stopping, self._prepared.processes
        recorder.clock.seconds = self._before  # without the time in which plugins opened their output
        recorder.start()
        first = len(recorder.history) + 1
        last = self._prepared.training.epochs
        if first > 1 and processes.from_first(stopping.stop(first - 1)):
            last = first - 1
        for epoch in range(first, last + 1):
            recorder.epoch_started(epoch)
            scores = processes.from_first(
                {**self.fitter.fit(epoch, recorder.batch_finished), **self._scorer.validate()}
            )
            recorder.add({"epoch": epoch, **{name: float(value) for name, value in scores.items()}})
            best, best_of = stopping.take(recorder.history)
            self.fitter.epoch_finished(stopping.followed)
            processes.align([self._prepared.network, self._prepared.weighting, *self.fitter.modules], epoch)
            if processes.first:
                state = self._state()
                recorder.write(state, best=best, best_of=best_of)
                if epoch == first:  # not only when the training is over
                    self._check_first(state)
                recorder.epoch_finished()
            if processes.from_first(stopping.stop(epoch)):  # only the first process calls plugins
                break
        average, epochs = self._prepared.training.average, len(recorder.history)
        if (
            processes.first
            and isinstance(average, SWA)
            and epochs < average.start
            and stopping.exhausted(epochs)
        ):
            _log.warning(
                f"training.average: no weights were averaged: early stopping ended the training after epoch {epochs}, "
                f"before the average starts in epoch {average.start}. Set training.early_stopping.patience to false"
            )
        if not math.isfinite(stopping.best_value):
            _log.warning(f"{stopping.monitor} was not defined in any epoch: the first counts as the best")

    def evaluate(self, part: str) -> Evaluation:
        """Evaluate the network, as it is now, on a part."""
        return self._scorer.evaluate(part)

    def load_best(self, task: str | None = None) -> None:
        """Give the network the weights of the best epoch, or of a task's own best, where those are kept.

        Raises:
            InputError: the checkpoint is missing or damaged.
            RunError: the network predicts otherwise than a new one with these weights.
        """
        path = self._recorder.checkpoints / ("best.pt" if task is None else f"best-{task}.pt")
        state = load_checkpoint(path)
        self._prepared.network.load(state.get("network", {}), str(path))
        if task is None and not self._compared:
            self._compare_with_new(path, state)
            self._compared = True

    def _check_first(self, state: Mapping[str, Any]) -> None:
        """Read the first checkpoint back, and compare the network with a new one that has its weights.

        Raises:
            RunError: the checkpoint cannot be read, or does not hold all of the network.
        """
        path = self._recorder.checkpoints / "last.pt"
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
        prepared, before = self._prepared, random_state()
        advice = "register what it learns as parameters or buffers, so that a checkpoint holds it"
        try:
            new = prepared.rebuild()
            new.load(state["network"], str(path))
            batch = next(prepared.batches["val" if "val" in prepared.batches else "train"].epoch()).to(
                prepared.device
            )
            x, lengths, targets = (part[:_COMPARED] for part in (batch.x, batch.lengths, batch.targets))
            predictions = []
            for network in (prepared.network, new):
                restore_random_state(before)
                network.eval()
                predictions.append(network(x, lengths, network.known_labels(targets, prepared.tasks))[1])
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

    def _state(self) -> dict[str, Any]:
        prepared, recorder = self._prepared, self._recorder
        return {
            "epoch": len(recorder.history),
            "description": storable(
                describe(prepared.tracks, prepared.split, prepared.features, prepared.excerpts).to_state()
            ),
            "network": prepared.network.state_dict(),
            "weighting": prepared.weighting.state_dict(),
            **self.fitter.state_dict(),
            "stopping": storable(recorder.stopping.state_dict()),
            "random": random_state(),
            "scaling": {
                "offset": torch.from_numpy(prepared.scaling.offset),
                "scale": torch.from_numpy(prepared.scaling.scale),
            },
            "threads": torch.get_num_threads(),
            "seconds": self.seconds,
        }
