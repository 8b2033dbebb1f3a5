"""A matrix of four small runs on the command line, and what they leave."""

from __future__ import annotations

import json

import fakes as fakes_module
import torch

MATRIX = (
    fakes_module.EXPERIMENT.replace("[training]", "[evaluation]\nresamples = 100\n\n[training]")
    + """
[matrix]
"model.hidden" = [4, 8]
"training.epochs" = [2, 3]
"""
)
FOUR = ["small-hidden4-epochs2", "small-hidden4-epochs3", "small-hidden8-epochs2", "small-hidden8-epochs3"]


def run(launcher, folder, *arguments, text=MATRIX, kill_at="", kill_once="", signal=9, **how):
    (folder / "small.toml").write_text(text)
    environment = {
        "MUSICEMO_TEST_KILL_AT": kill_at,
        "MUSICEMO_TEST_KILL_ONCE": str(kill_once),
        "MUSICEMO_TEST_SIGNAL": str(int(signal)),
    }
    return launcher.run("run", "small.toml", *arguments, folder=folder, environment=environment, **how)


def found(folder, runs="runs"):
    return {path.parent.name: path for path in sorted((folder / runs).glob("*/*"))}


def results(directory):
    return json.loads((directory / "results.json").read_text())


def content(directory):
    """Return all of a run that is not of the time that it took."""
    text = (directory / "predictions.csv").read_text() + (directory / "experiment.toml").read_text()
    network = torch.load(directory / "checkpoints" / "best.pt", weights_only=True)["network"]
    return (
        text,
        (directory / "history.jsonl").read_text(),
        {name: one.tolist() for name, one in network.items()},
    )
