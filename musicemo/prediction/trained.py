"""A finished run that can predict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from musicemo.components import registry
from musicemo.data import Description, Scaling, Task, smoothed
from musicemo.errors import InputError
from musicemo.evaluation import Calibration
from musicemo.experiment import Experiment, load_experiment
from musicemo.runs import RunRecord, open_replicates, open_run
from musicemo.training import Network, load_checkpoint
from musicemo.training.checkpoint import read_scaling

__all__ = ["TrainedRun", "find_runs"]

#: Kinds of components that are used in training only.
UNNEEDED = ("augmentation", "loss", "weighting", "launcher", "plugin")

_AT_ONCE = 32
"""Clips in a batch."""


@dataclass(frozen=True)
class TrainedRun:
    """The network of a run with its best epoch's weights, in evaluation mode, and a description of its training."""

    directory: Path
    experiment: Experiment
    description: Description
    scaling: Scaling
    network: Network
    device: torch.device
    #: Content of `results.json`.
    results: Mapping[str, Any]
    record: RunRecord
    #: Whether the run's copies of local Python files, and the code of files that it names, may be executed.
    trusted: bool = False

    @classmethod
    def load(
        cls, run: Path | RunRecord, device: torch.device | None = None, *, trust_local_code: bool = False
    ) -> TrainedRun:
        """Rebuild a run's network. Only the packages of its model and its features need to be installed.

        Args:
            run: the run directory, opened or not.
            device: device of the predictions; None is the CPU.
            trust_local_code: whether to execute the run's copies of local Python files.

        Raises:
            InputError: the directory is not a run directory, the run is not finished, one of its files is damaged, or a
                component that it needs is not installed.
        """
        record = run if isinstance(run, RunRecord) else open_run(run)
        directory = record.directory
        if "calibration" in record.damaged:
            raise InputError(f"{directory / 'results.json'}: {record.damaged['calibration']}")
        status, results = record.status, record.results
        if status != "done":
            raise InputError(
                f"{directory}: the run is not finished (status {status!r}). Continue it with `musicemo run --resume`"
            )
        if ensemble := results.get("ensemble"):
            runs = [str(directory.parent.parent / member["run"]) for member in ensemble["members"]]
            more = f" and {len(runs) - 3} more" if len(runs) > 3 else ""
            raise InputError(
                f"{directory}: is the mean of {len(runs)} runs and has no network of its own. `musicemo predict`, "
                f"`evaluate` and `listen` average their predictions; otherwise, use one of them: "
                f"{', '.join(runs[:3])}{more}"
            )
        try:
            experiment = load_experiment(
                directory / "experiment.toml",
                local_code="kept" if trust_local_code else "refuse",
                unneeded=("dataset", *UNNEEDED),
            )
        except InputError as error:
            raise InputError(*error.problems, *_not_installed(record)) from error
        path = directory / "checkpoints" / "best.pt"
        state = load_checkpoint(path)
        try:
            if "description" not in state:
                raise InputError(
                    "written by an earlier version of musicemo, without a description of the predictions. "
                    "Train the run again"
                )
            description = Description.from_state(state["description"])
            scaling = _scaling(state, description)
        except InputError as error:
            raise InputError(*(f"{path}: {problem}" for problem in error.problems)) from error
        if [task.name for task in description.tasks] != list(experiment.tasks):
            raise InputError(
                f"{path}: is not of the experiment in {directory / 'experiment.toml'}: the tasks differ"
            )
        target_device = device or torch.device("cpu")
        with experiment.source.blaming("model"):
            targets = [task.outcome for task in description.tasks]
            backbone = experiment.build_backbone(targets, description.streams)
            network = Network(
                backbone,
                description.tasks,
                experiment.heads,
                description.streams,
                description.excerpts,
                experiment.build_sharing,
            )
        network.load(state.get("network", {}), str(path))
        return cls(
            directory,
            experiment,
            description,
            scaling,
            network.to(target_device).eval(),
            target_device,
            results,
            record,
            trust_local_code,
        )

    @property
    def members(self) -> Sequence[TrainedRun]:
        """The run itself; those of an ensemble are several, see `TrainedEnsemble`."""
        return [self]

    @cached_property
    def calibrations(self) -> Mapping[str, Calibration]:
        """Task -> calibration of its predictions; empty if the run is not calibrated.

        Raises:
            InputError: the calibration is damaged.
        """
        return read_calibrations(self.directory, self.results)

    @property
    def thresholds(self) -> Mapping[str, Mapping[str, float]]:
        """Task -> tag -> probability from which on the tag is predicted; empty without tags.

        Raises:
            InputError: a threshold is missing.
        """
        return read_thresholds(self.directory, self.results, self.description.tasks)

    @torch.no_grad()
    def predict(self, clips: Sequence[NDArray[np.float32]]) -> dict[str, NDArray[np.float64]]:
        """Predict clips.

        Args:
            clips: unscaled features, each `[time, feature]`, with the rows of the training data.

        Returns:
            Task -> ratings in their units or scores `[clips]`, or probabilities `[clips, classes]` of classes or tags.
            Series are not among them; see `curves`.
        """
        return self.in_units(self.outputs(clips))

    @torch.no_grad()
    def outputs(self, clips: Sequence[NDArray[np.float32]]) -> dict[str, Tensor]:
        """Return task -> the outputs of the network for clips, `[clips]` or `[clips, outputs]`; see `predict`."""
        static = [task.name for task in self.description.tasks if task.kind != "series"]
        if not static:
            return {}
        outputs: dict[str, list[Tensor]] = {name: [] for name in static}
        for start in range(0, len(clips), _AT_ONCE):
            x, lengths = pad([self.scaling(clip) for clip in clips[start : start + _AT_ONCE]])
            _, predictions = self.network(x.to(self.device), lengths.to(self.device))
            for name, several in outputs.items():
                several.append(predictions[name].double().cpu())
        return {name: torch.cat(batches) for name, batches in outputs.items()}

    def in_units(self, outputs: Mapping[str, Tensor]) -> dict[str, NDArray[np.float64]]:
        """Return the result of `predict`, from that of `outputs`."""
        return {
            task.name: _in_units(task, outputs[task.name])
            for task in self.description.tasks
            if task.name in outputs
        }

    def spreads(self, outputs: Mapping[str, Tensor]) -> dict[str, NDArray[np.float64]]:
        """Return task -> predicted standard deviation of the listeners' ratings `[clips]`, from `outputs`.

        Only tasks that learn a distribution have one. It is in the units of the ratings.
        """
        return {
            task.name: task.distribution.deviation(outputs[task.name]).numpy() * (task.range[1] - task.range[0])
            for task in self.description.tasks
            if task.distribution is not None
        }

    @torch.no_grad()
    def curves(self, clip: NDArray[np.float32], edges: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        """Return task -> ratings of each time step of a clip in their units, `[time]`, of the series.

        They are smoothed as in the evaluation of the run.

        Args:
            clip: unscaled features `[time, feature]`, with the rows of the training data.
            edges: `[time + 1]`, the edges of the time steps in seconds.
        """
        x, lengths = pad([self.scaling(clip)])
        _, predictions = self.network(x.to(self.device), lengths.to(self.device))
        return {
            task.name: task.decode(
                smoothed(
                    predictions[task.name][0].double().cpu().numpy(), edges[: len(clip) + 1], task.smoothing
                )
            )
            for task in self.description.tasks
            if task.kind == "series"
        }

    def calibrated(self, predictions: Mapping[str, NDArray[np.float64]]) -> dict[str, NDArray[np.float64]]:
        """Return the result of `predict` with calibrated ratings, if the run is calibrated."""
        maps = self.calibrations
        return {name: maps[name](values) if name in maps else values for name, values in predictions.items()}


def read_calibrations(directory: Path, results: Mapping[str, Any]) -> dict[str, Calibration]:
    """Return task -> calibration in the results of a run; empty if it is not calibrated.

    Raises:
        InputError: the calibration is damaged.
    """
    try:
        tasks = results.get("calibration", {}).get("tasks", {})
        return {name: Calibration.from_json(task["map"]) for name, task in tasks.items() if "map" in task}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{directory / 'results.json'}: its calibration is damaged: {error}") from error


def read_thresholds(
    directory: Path, results: Mapping[str, Any], tasks: Sequence[Task]
) -> dict[str, Mapping[str, float]]:
    """Return task -> tag -> threshold in the results of a run, for its tasks with tags.

    Raises:
        InputError: a threshold is missing.
    """
    recorded = results.get("thresholds") or {}
    thresholds = {
        task.name: (recorded.get(task.name) or {}).get("values", {}) for task in tasks if task.kind == "tags"
    }
    for task in tasks:
        if task.kind == "tags" and (missing := set(task.classes) - set(thresholds[task.name])):
            raise InputError(
                f"{directory / 'results.json'}: thresholds.{task.name}: there is no threshold for {min(missing)!r}"
            )
    return thresholds


def _in_units(task: Task, prediction: Tensor) -> NDArray[np.float64]:
    if task.distribution is not None:
        prediction = task.distribution.mean(prediction)
    if task.kind in ("regression", "pairs"):  # the scale of scores is [0, 1], which changes nothing
        return task.decode(prediction.numpy())
    probabilities = prediction.sigmoid() if task.kind == "tags" else prediction.softmax(dim=1)
    return np.asarray(probabilities.numpy())


def pad(clips: Sequence[NDArray[np.float32]]) -> tuple[Tensor, Tensor]:
    """Return clips `[time, feature]` as one zero-padded tensor `[batch, time, feature]`, and their lengths."""
    x = torch.nn.utils.rnn.pad_sequence([torch.tensor(clip) for clip in clips], batch_first=True)
    return x, torch.tensor([len(clip) for clip in clips])


def _not_installed(record: RunRecord) -> list[str]:
    """Return a sentence on each package of the run that is not installed."""
    plugins, origins = record.environment.get("plugins") or {}, record.environment.get("origins") or {}
    present = {claim.distribution for kind in registry.GROUPS for claim in registry.claims(kind)}
    return [
        f"{record.directory}: the run requires {name} {version}, which is not installed: pip install "
        f"{origins.get(name) or f'{name}=={version}'}"
        for name, version in plugins.items()
        if name not in present
    ]


def _scaling(state: Mapping[str, Any], description: Description) -> Scaling:
    scaling = read_scaling(state)
    if scaling.offset.shape != (description.input_size,):
        raise InputError(f"its scaling is not of {description.input_size} feature rows")
    return scaling


def find_runs(
    path: Path, device: torch.device | None = None, *, trust_local_code: bool = False
) -> list[TrainedRun]:
    """Return the run in a run directory, or the replicates in an experiment's folder.

    Args:
        path: ``runs/<name>/<run id>``, or ``runs/<name>``; see `musicemo.runs.open_replicates`.
        device: device of the predictions; None is the CPU.
        trust_local_code: whether to execute the runs' copies of local Python files; see `TrainedRun.load`.

    Raises:
        InputError: the run does not exist, is not finished, or cannot be loaded.
    """
    return [
        TrainedRun.load(record, device, trust_local_code=trust_local_code) for record in open_replicates(path)
    ]
