"""Batches without a label of some task, through every installed loss and weighting."""

from __future__ import annotations

import math

import pytest
from harness import load, results_of, run_all

from musicemo.components import registry
from musicemo.errors import InputError
from musicemo.hookspecs import hookimpl

pytestmark = pytest.mark.usefixtures("fakes_beside")

OWN = [claim.name for claim in registry.claims("weighting") if claim.distribution == "musicemo"]
LOSSES = [claim.name for claim in registry.claims("loss") if claim.distribution == "musicemo"]
REGRESSION = [name for name in LOSSES if getattr(registry.load("loss", name), "kind", "") == "regression"]

#: Every batch is one track, which knows one dataset's tasks alone.
TEXT = """\
name = "partial"
dataset = [
    { type = "memory", name = "genres", tracks = 12 },
    { type = "memory", name = "emotions", tracks = 12, seed = 1 },
]
split.method = "random"
model = { type = "lstm", hidden = 8, dropout = 0.0 }
head = { hidden = [] }
training = { epochs = 2, batch_size = 1, device = "cpu" }
[tasks.genre]
target = { genres = "genre" }
[tasks.valence]
target = { emotions = "valence" }
[tasks.energy]
target = { emotions = "energy" }
"""


def run(folder, *overrides):
    """Run the experiment and return its history."""
    histories = []

    class Keep:
        @hookimpl
        def musicemo_run_finished(self, run, results):
            histories.append(run.history)

    (outcome,) = run_all(folder, *overrides, text=TEXT, plugins=[Keep()])
    assert results_of(outcome.directory)["status"] == "done"
    return histories[0]


@pytest.mark.slow
@pytest.mark.parametrize("name", OWN)
def test_every_weighting_trains_on_partial_labels(name, tmp_path):
    try:
        load(tmp_path, f"weighting.type='{name}'", text=TEXT)
        history = run(tmp_path, f"weighting.type='{name}'")
    except InputError as error:
        if "pip install" not in str(error):
            raise
        pytest.skip(str(error))
    for record in history:
        assert all(math.isfinite(record[f"train/{task}/loss"]) for task in ("genre", "valence", "energy"))


@pytest.mark.slow
@pytest.mark.parametrize("name", REGRESSION)
def test_every_loss_of_ratings_trains_on_partial_labels(name, tmp_path):
    loss = f"tasks.valence.loss=[{{ type = '{name}', weight = 0.1 }}, {{ type = 'mse' }}]"
    history = run(tmp_path, loss, "weighting.type='constant'")
    assert history[1]["train/energy/loss"] < history[0]["train/energy/loss"]
    assert math.isfinite(history[1]["val/valence/loss"])
