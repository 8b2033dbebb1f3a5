"""Fixtures: trained replicates, made once."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import clips
import harness
import pytest

from musicemo.prediction import TrainedRun


@pytest.fixture(autouse=True)
def _one_thread(one_thread: None) -> None:
    """Everything here is small."""


@pytest.fixture
def components(fakes_beside):
    """Register the components of `clips.py` beside all others; return `install`."""
    fakes_beside("dataset", "clips", clips.Clips)
    fakes_beside("model", "moody", clips.Moody)
    fakes_beside("model", "untraceable", clips.Untraceable)
    return fakes_beside


@pytest.fixture(scope="session")
def made(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("made")


@pytest.fixture
def replicates(components, made) -> Path:
    """Return the folder of an experiment with two finished runs; do not write to it."""
    if not (made / "runs").exists():
        harness.run_all(made, text=clips.TEXT)
    return made / "runs" / "songs"


@pytest.fixture
def directory(replicates) -> Path:
    """Return the run directory of the first seed; do not write to it."""
    return sorted(replicates.iterdir())[0]


@pytest.fixture
def run(directory) -> TrainedRun:
    """Return the run of the first seed."""
    return TrainedRun.load(directory)


@pytest.fixture
def copied(directory, tmp_path) -> Path:
    """Return a copy of the run directory that can be damaged."""
    return Path(shutil.copytree(directory, tmp_path / "copied"))


@pytest.fixture
def trained(components, tmp_path) -> Callable[..., TrainedRun]:
    """Return what trains one run with overrides, and loads it."""

    def train(*overrides: str, text: str = clips.TEXT) -> TrainedRun:
        (outcome,) = harness.run_all(tmp_path, "seed=0", *overrides, text=text)
        return TrainedRun.load(outcome.directory)

    return train
