"""One training: what it works with, and the run that lifecycle hooks see."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from musicemo.contracts import Weighting
from musicemo.data import Batches, Features, Scaling, Split, Task, Tracks
from musicemo.terminal import visible
from musicemo.training.network import Network
from musicemo.training.objective import Objective
from musicemo.training.pretraining import Pretraining
from musicemo.training.processes import SINGLE, Processes
from musicemo.training.settings import TrainingSettings
from musicemo.training.stopping import Stopping, StopRequest

__all__ = ["Prepared", "Run"]


@dataclass(frozen=True)
class Prepared:
    """Everything that one seed and one fold of an experiment is trained with."""

    tracks: Tracks
    split: Split
    features: Features
    #: Scaling of the features, which a checkpoint carries.
    scaling: Scaling
    network: Network
    weighting: Weighting
    #: Loss of each task.
    objective: Objective
    #: Batches of ``train``, and of ``val`` and ``test`` if they are not empty.
    batches: Mapping[str, Batches]
    training: TrainingSettings
    device: torch.device
    #: Build the network again, with other initial weights; it draws random numbers.
    rebuild: Callable[[], Network]
    #: What was taken from an earlier run: ``from``, and the names of what was ``loaded``, is ``new`` and ``frozen``.
    transfer: Mapping[str, Any] | None = None
    #: Training of the backbone without labels, before the network is trained.
    pretraining: Pretraining | None = None
    #: The processes that train the network together.
    processes: Processes = SINGLE
    #: Length and number of the excerpts of a track that the network is evaluated on; None for the whole track.
    excerpts: tuple[int, int] | None = None

    @property
    def tasks(self) -> Sequence[Task]:
        """The tasks, in the experiment's order."""
        return self.tracks.tasks

    @property
    def layer_weights(self) -> dict[str, dict[str, float]]:
        """Stream -> output -> its weight in the network's learned sum, for streams that have one."""
        weights = self.network.layer_weights
        return {
            stream.name: dict(zip(stream.outputs, weights[stream.name], strict=True))
            for stream in self.tracks.streams
            if stream.name in weights
        }


class Clock:
    """The duration of a training that may be resumed, in seconds."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds of training so far, including those before a resumption."""
        return time.monotonic() - self._began

    @seconds.setter
    def seconds(self, seconds: float) -> None:
        self._began = time.monotonic() - seconds


@dataclass(frozen=True)
class Run:
    """One training of one network, with one seed and one split, and the folder that records it."""

    #: The run directory. Plugins can write files into it.
    directory: Path
    #: Name of the experiment.
    name: str
    #: Seed of the initial weights and the batch order.
    seed: int
    #: The resolved experiment, as nested tables.
    settings: Mapping[str, Any]
    #: The resolved experiment, as TOML.
    toml: str
    prepared: Prepared
    #: Best epoch so far, and the monitored quantity.
    stopping: Stopping
    #: The record of every finished epoch, those before a resumption included. The trainer writes it: read only.
    history: list[Mapping[str, float]] = field(default_factory=list)
    clock: Clock = field(default_factory=Clock)

    @property
    def tracks(self) -> Tracks:
        """The tracks."""
        return self.prepared.tracks

    @property
    def split(self) -> Split:
        """The training, validation and test set."""
        return self.prepared.split

    @property
    def features(self) -> Features:
        """The features of every track, scaled."""
        return self.prepared.features

    @property
    def network(self) -> Network:
        """The network."""
        return self.prepared.network

    @property
    def weighting(self) -> Weighting:
        """The weighting of the tasks."""
        return self.prepared.weighting

    @property
    def device(self) -> torch.device:
        """The device that the network is on."""
        return self.prepared.device

    @property
    def epochs(self) -> int:
        """Maximum number of epochs."""
        return self.prepared.training.epochs

    @property
    def seconds(self) -> float:
        """Seconds of training so far, including those before a resumption."""
        return self.clock.seconds

    @property
    def transfer(self) -> Mapping[str, Any] | None:
        """What was taken from an earlier run; see `Prepared.transfer`."""
        return self.prepared.transfer

    @property
    def tasks(self) -> Sequence[Task]:
        """The tasks, in the experiment's order."""
        return self.prepared.tasks

    @property
    def label(self) -> str:
        """The run's name and id, as they stand in its path."""
        return f"{self.name}/{self.directory.name}"

    def stop(self, reason: str, *, evaluate: bool = True) -> None:
        """End the training after the current epoch, from a hook.

        A run trains at least one epoch. If it is stopped in `musicemo_run_started` and resumes earlier epochs, no
        further epoch is trained. Of several requests, the first counts. `results.json` records the reason and the last
        epoch under ``stopped``, unless the training ends after this epoch anyway.

        Args:
            reason: the reason, as a clause: ``the time budget of 60 minutes is used up``.
            evaluate: whether to evaluate the best epoch so far and finish the run. Otherwise its status is
                ``interrupted``. In either case ``musicemo run --resume`` continues the training.

        Raises:
            ValueError: the reason is empty.
        """
        if not isinstance(reason, str) or not reason.strip():
            raise ValueError("run.stop needs the reason as text")
        self.stopping.request = self.stopping.request or StopRequest(visible(reason.strip()), evaluate)

    @property
    def stopped(self) -> Mapping[str, Any] | None:
        """The ``reason`` and the last ``epoch`` if a plugin ended the training early, otherwise None."""
        request, epoch = self.stopping.request, len(self.history)
        if request is None or (request.evaluate and (epoch >= self.epochs or self.stopping.exhausted(epoch))):
            return None
        return {"reason": request.reason, "epoch": epoch}
