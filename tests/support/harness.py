"""Runs small experiments in this process and keeps what the lifecycle hooks were told."""

from __future__ import annotations

import copy
import io
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import fakes
import torch
from rich.console import Console

from musicemo.components.hooks import Hooks
from musicemo.experiment import Experiment, load_experiment
from musicemo.experiment.tracks import read_tracks, split_tracks
from musicemo.hookspecs import hookimpl
from musicemo.reporting.blocks import Block
from musicemo.reporting.terminal import show
from musicemo.running.execute import Outcome, run_experiment
from musicemo.running.prepare import RunOptions, prepare
from musicemo.training import Prepared

CPU = torch.device("cpu")

#: One regression task, from the features' means through a head of one dense layer.
LINEAR = """\
name = "linear"
dataset.type = "memory"
model.type = "average"
weighting.type = "sum"
head = { hidden = [], dropout = 0.0 }
training = { epochs = 3, batch_size = 16, device = "cpu" }
tasks.valence.loss.type = "squared-error"
"""


class Average(torch.nn.Module):
    """The mean over time as it is: with a head of one layer, a linear regression."""

    def __init__(self, *, input_size: int) -> None:
        super().__init__()
        self.embedding_size = input_size

    def forward(self, x, lengths):
        return x.sum(dim=1) / lengths[:, None]


class Recorder:
    """Every hook and what it was called with, the network's weights after each epoch, the run itself."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.weights: list[dict[str, torch.Tensor]] = []
        self.evaluations: dict[str, Any] = {}
        self.run: Any = None

    @hookimpl
    def musicemo_run_started(self, run):
        self.run = run
        self.calls.append(("run_started",))

    @hookimpl
    def musicemo_epoch_started(self, run, epoch):
        assert run is self.run
        self.calls.append(("epoch_started", epoch))

    @hookimpl
    def musicemo_batch_finished(self, run, epoch, batch, losses):
        assert run is self.run
        self.calls.append(("batch_finished", epoch, batch, losses))

    @hookimpl
    def musicemo_epoch_finished(self, run, record):
        assert run is self.run
        assert record == run.history[-1]
        self.calls.append(("epoch_finished", record["epoch"]))
        self.weights.append(copy.deepcopy(run.network.state_dict()))

    @hookimpl
    def musicemo_evaluated(self, run, part, evaluation):
        assert run is self.run
        self.calls.append(("evaluated", part))
        self.evaluations[part] = evaluation

    @hookimpl
    def musicemo_run_finished(self, run, results):
        assert run is self.run
        self.calls.append(("run_finished", results["status"]))

    @hookimpl
    def musicemo_run_failed(self, run, error):
        assert run is self.run or self.run is None
        self.calls.append(("run_failed", error))


def load(folder: Path, *overrides: str, text: str = fakes.EXPERIMENT) -> Experiment:
    """Return the experiment of `fakes.py`, or another, with overrides."""
    path = folder / "small.toml"
    path.write_text(text)
    return load_experiment(path, ["evaluation.resamples=100", *overrides])


def assemble(folder: Path, *overrides: str, text: str = fakes.EXPERIMENT, overfit_batches: int = 0) -> Prepared:
    """Return what the experiment trains."""
    experiment = load(folder, *overrides, text=text)
    tracks = read_tracks(experiment)
    experiment = experiment.completed(tracks)
    split = split_tracks(experiment, tracks)
    return prepare(experiment, tracks, split, experiment.seeds[0], CPU, overfit_batches)


def hooks_of(*plugins: object) -> Hooks:
    """Return hooks of these plugins alone."""
    hooks = Hooks()
    for number, plugin in enumerate(plugins):
        hooks.register(plugin, f"plugin {number}")
    return hooks


def run_all(
    folder: Path,
    *overrides: str,
    text: str = fakes.EXPERIMENT,
    plugins: Sequence[object] = (),
    runs: str = "runs",
    **how: Any,
) -> list[Outcome]:
    """Run every replicate, with `how` as its options."""
    options = RunOptions(**{"resume": False, **how})
    return list(run_experiment(load(folder, *overrides, text=text), folder / runs, hooks_of(*plugins), options))


def train(folder: Path, *overrides: str, **how: Any) -> Recorder:
    """Run one replicate and return what was recorded."""
    recorder = Recorder()
    (outcome,) = run_all(folder, *overrides, plugins=[recorder, *how.pop("plugins", ())], **how)
    assert recorder.run is None or outcome.directory == recorder.run.directory
    return recorder


def only_run(folder: Path) -> Path:
    """Return the one run directory below a folder."""
    (path,) = (folder / "runs").glob("*/*")
    return path


def results_of(directory: Path) -> dict[str, Any]:
    """Return a run's `results.json`, which must be JSON that knows no NaN."""

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} in results.json")

    return json.loads((directory / "results.json").read_text(), parse_constant=refuse)


def printed(blocks: Iterable[Block], width: int = 150) -> str:
    """Return what a terminal shows of blocks."""
    file = io.StringIO()
    show(Console(file=file, width=width), blocks)
    return file.getvalue()
