"""What one seed and one fold of an experiment is trained with."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from musicemo.contracts import Weighting
from musicemo.data import Batches, Features, Scaling, Split, Tracks, fit_scaling
from musicemo.errors import InputError
from musicemo.experiment import Experiment
from musicemo.experiment.batches import make_batches
from musicemo.running.assembly.rehearsal import (
    check_signs,
    check_storable,
    initialize,
    rehearse,
    rehearse_training,
)
from musicemo.running.transfer import Transfer
from musicemo.training import Network, Objective, Term, TrainingSettings, check_monitor
from musicemo.training.randomness import seed_everything

__all__ = ["Assembly"]


class Assembly:
    """Everything that one seed and one fold of an experiment is trained with; nothing is written yet.

    Args:
        experiment: the experiment.
        tracks: its tracks.
        split: their split.
        seed: decides the initial weights and the order of the batches.
        device: where to train.
        overfit_batches: train on this many batches alone, in a fixed order; 0 for the whole training part.
        source: the checkpoint to begin with, of an experiment with ``[transfer]``.

    Raises:
        InputError: a component refuses its parameters, features that cannot be read, a monitor of nothing.
    """

    def __init__(
        self,
        experiment: Experiment,
        tracks: Tracks,
        split: Split,
        seed: int,
        device: torch.device,
        overfit_batches: int = 0,
        source: Path | None = None,
    ) -> None:
        blaming = experiment.source.blaming
        seed_everything(seed)
        self.training = experiment.training
        self.features = Features(tracks.tracks, tracks.rows, self.training.cache)
        self.features.check(np.concatenate(list(split.parts.values())))
        train = split.parts["train"]
        transfer: Transfer | None = None
        scaling: Scaling | None = None
        if experiment.transfer and source:
            with blaming("transfer", "from"):
                transfer = Transfer.read(experiment.transfer, source)
                scaling = transfer.scaling(self.features.size)
                transfer.check_leaks(experiment.dataset.to_table(), split)
        self.scaling: Scaling = scaling or fit_scaling(
            experiment.scaling.method, self.features.select(train), self.features.size
        )
        self.features.scale(self.scaling)
        with blaming("model"):
            self._experiment, self._tasks, self._device = experiment, tracks.tasks, device
            self.network = self.rebuild()
            some = next(Batches(self.features, tracks.targets, train[:2], batch_size=2).epoch()).to(device)
            initialize(self.network, some)
            check_storable(self.network)
        #: What was taken from an earlier run: see `Transfer.load`.
        self.transfer: dict[str, Any] | None = None
        if transfer:
            with blaming("transfer"):
                self.transfer = transfer.load(self.network)
        if overfit_batches or self.network.estimator:
            self.training = _without_validation(self.training, fitted=self.network.estimator is not None)
        with blaming("weighting"):
            self.weighting: Weighting = experiment.weighting.build(tasks=list(experiment.tasks))
            self.weighting.to(device)
            check_storable(self.weighting)
        self.objective = Objective(tracks.tasks, _terms(experiment, tracks, train)).to(device)
        check_signs(experiment, self.objective, self.weighting)
        with blaming("dataset"):
            self.batches = make_batches(
                self.features, tracks, split, self.training, seed, overfit_batches, experiment.proportions
            )
        with blaming("training", "early_stopping", "monitor"):
            check_monitor(self.training.early_stopping, tracks.tasks, self.batches)
        if not self.network.estimator:  # which has no shapes yet
            rehearse(experiment, self.network, self.objective, some)
            self._rehearse_training(experiment, tracks, train)

    def rebuild(self) -> Network:
        """Build the network anew, with other initial weights; it draws random numbers."""
        targets = [task.outcome for task in self._tasks]
        backbone = self._experiment.model.build(input_size=self.features.size, targets=targets)
        return Network(backbone, self._tasks, self._experiment.heads).to(self._device)

    def _rehearse_training(self, experiment: Experiment, tracks: Tracks, train: NDArray[np.intp]) -> None:
        """Take the smallest batch of an epoch forward and backward; join a last batch of one track if it fails.

        Raises:
            InputError: the model or a loss fails.
        """
        batches = self.batches["train"]

        def attempt(size: int) -> None:
            batch = next(Batches(self.features, tracks.targets, train[:size], batch_size=size).epoch())
            rehearse_training(
                experiment, self.network, self.objective, batch.to(self._device), self.training.precision
            )

        try:
            attempt(batches.smallest)
        except InputError as error:
            if batches.smallest > 1 or len(train) < 2:
                raise
            attempt(2)
            if self.training.batch_size == 1 or len(batches) == 1:
                raise InputError(
                    experiment.source.error(
                        ("training", "batch_size"),
                        f"is 1, and the model or a loss fails on a batch of one track; use 2 or more ({error})",
                    )
                ) from error
            batches.join_single = True
            warnings.warn(
                "the model or a loss fails on a batch of one track in training, as batch normalization does: the "
                "last batch, of one track, is joined to the batch before it",
                stacklevel=2,
            )


def _without_validation(training: TrainingSettings, *, fitted: bool) -> TrainingSettings:
    """Train every epoch, of which an estimator has one, whatever the validation part says."""
    stopping = training.early_stopping.model_copy(
        update={"monitor": "train/loss", "mode": "min", "patience": False, "per_task": False}
    )
    more = {"epochs": 1} if fitted else {}
    return training.model_copy(update={"early_stopping": stopping, **more})


def _terms(experiment: Experiment, tracks: Tracks, train: NDArray[np.intp]) -> dict[str, list[Term]]:
    """Build each task's loss terms."""
    found: dict[str, list[Term]] = {}
    for column, task in enumerate(tracks.tasks):
        labels = tracks.targets[train, column]
        counts = {name: int((labels == index).sum()) for index, name in enumerate(task.classes)}
        chosen = experiment.losses[task.name]
        with experiment.source.blaming("tasks", task.name, "loss"):
            found[task.name] = [Term(weight, loss.build(class_counts=counts)) for weight, loss in chosen]
    return found
