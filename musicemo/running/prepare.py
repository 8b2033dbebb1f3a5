"""From an experiment to its data, and from both to what one replicate trains."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch

from musicemo.components import local
from musicemo.contracts import Dataset
from musicemo.data import DataIdentity, Tracks, collect, identify_data
from musicemo.experiment import Experiment
from musicemo.experiment.tracks import match_tasks
from musicemo.runs import gathered
from musicemo.training import choose_device

__all__ = ["ExperimentData", "RunOptions", "TrackReader"]


@dataclass(frozen=True)
class RunOptions:
    """Options that hold for all runs of a command, whatever their experiment."""

    #: Device instead of ``training.device``.
    device: str | None = None
    #: Whether to continue the latest run of the same experiment, data, seed and fold, and to leave a finished one as
    #: it is. None does so for the variants of a matrix; a damaged run is then started anew with a warning.
    resume: bool | None = None
    #: Number of training batches to train and evaluate on, as a check; 0 for the whole training set.
    overfit_batches: int = 0
    #: Command line that the runs record.
    command: Sequence[str] = field(default_factory=lambda: tuple(sys.argv))

    def resumes(self, experiment: Experiment) -> bool:
        """Return whether runs of an experiment are continued."""
        return bool(experiment.variant) if self.resume is None else self.resume

    @property
    def restarts(self) -> bool:
        """Whether a new run is started if the one to continue is damaged; otherwise that is an error."""
        return self.resume is None

    def choose_device(self, experiment: Experiment) -> torch.device:
        """Return the device to train on.

        Raises:
            InputError: the device is not available.
        """
        return choose_device(self.device or experiment.training.device)

    def run_name(self, experiment: Experiment) -> str:
        """Return the name of the folder that holds the runs of an experiment."""
        return experiment.name + ("-overfit" if self.overfit_batches else "")


@dataclass(frozen=True)
class ExperimentData:
    """The tracks of an experiment, as they were read."""

    tracks: Tracks
    #: Warnings of reading the tracks, which every replicate records.
    warnings: Sequence[str]
    #: Target of ``evaluation.control``, on which the results depend too.
    control: str | None

    @cached_property
    def identity(self) -> DataIdentity:
        """The checksums of the labels and the features."""
        return identify_data(self.tracks, [self.control] if self.control else [])


class TrackReader:
    """Reads the tracks of experiments; those of the last dataset are kept for others on the same data."""

    def __init__(self) -> None:
        self._key = ""
        self._dataset: Dataset | None = None
        #: Target of ``evaluation.control`` -> the data.
        self._read: dict[str | None, ExperimentData] = {}

    @staticmethod
    def key(experiment: Experiment) -> str:
        """Return text that is the same for experiments whose tracks are the same."""
        resolved = experiment.resolved()
        targets = {
            name: {key: task.get(key) for key in ("target", "range", "classes")}
            for name, task in resolved["tasks"].items()
        }
        code = [(str(one), one.sha256) for one in experiment.code]
        return json.dumps([resolved["dataset"], targets, code], sort_keys=True)

    def read(self, experiment: Experiment) -> ExperimentData:
        """Read the tracks of an experiment.

        Raises:
            InputError: the dataset cannot be read, or does not fit the experiment.
        """
        key, control = self.key(experiment), experiment.evaluation.control
        if key != self._key or self._dataset is None:
            self._read.clear()  # the tracks of two datasets need not fit into memory
            texts: list[str] = []
            with gathered(texts), local.told_by_line():
                self._dataset = None
                dataset = experiment.build_dataset()
                tracks = collect(dataset, match_tasks(experiment, dataset))
            self._key, self._dataset = key, dataset
            self._read[control] = ExperimentData(tracks, texts, control)
        else:
            match_tasks(experiment, self._dataset)
            first = next(iter(self._read.values()))
            self._read.setdefault(control, ExperimentData(first.tracks, first.warnings, control))
        return self._read[control]
