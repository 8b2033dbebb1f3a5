"""Runs that are killed and resumed."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import torch
from launcher import Finished, Launcher

#: Something of all that a checkpoint must carry: a weighting with parameters, dropout, momentum, a schedule that
#: watches the validation part, early stopping before the last epoch, batches sorted by length.
EXPERIMENT = """\
name = "small"
seed = 3
dataset = { type = "memory", missing = 0.1 }
split = { method = "random" }
model.type = "means"
head = { hidden = [10], dropout = 0.3 }
weighting.type = "learned"
evaluation.resamples = 100
[training]
epochs = 12
batch_size = 16
bucket = true
device = "cpu"
optimizer = { type = "adam", lr = 0.1, weight_decay = 1e-3 }
schedule = { type = "plateau", patience = 0 }
early_stopping = { patience = 2 }
[tasks.valence]
loss = { type = "squared-error" }
[tasks.genre]
"""

SEED = """\
name = "other"
dataset.type = "memory"
model.type = "means"
weighting.type = "sum"
evaluation.resamples = 100
training = { epochs = 2, batch_size = 32, device = "cpu", early_stopping = { patience = false } }
tasks.valence.loss.type = "squared-error"
"""


def kill_at(moment: str, with_signal: signal.Signals = signal.SIGKILL) -> dict[str, str]:
    """Return the environment that makes the plugin of `assassin.py` send a signal."""
    return {"MUSICEMO_TEST_KILL_AT": moment, "MUSICEMO_TEST_SIGNAL": str(int(with_signal))}


def run(
    launcher: Launcher, folder: Path, *arguments: str, moment: str = "", text: str = EXPERIMENT
) -> Finished:
    """Run the experiment in a folder, to be killed at a moment."""
    (folder / "experiment.toml").write_text(text)
    environment = kill_at(moment) if moment else {"MUSICEMO_TEST_KILL_AT": ""}
    return launcher.run("run", "experiment.toml", *arguments, folder=folder, environment=environment)


def directories(folder: Path) -> list[Path]:
    return sorted((folder / "runs").glob("*/*"))


def results(directory: Path) -> dict[str, object]:
    return json.loads((directory / "results.json").read_text())


def flat(value: object, name: str = "") -> dict[str, object]:
    """Return what stands where in nested dictionaries and lists."""
    if isinstance(value, dict | list):
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        return {key: found for part, inner in pairs for key, found in flat(inner, f"{name}/{part}").items()}
    return {name: value}


def assert_same_run(found: Path, expected: Path) -> None:
    """Assert that two runs came out the same, to the bit, and that nothing is left over."""
    for name in ("history.jsonl", "predictions.csv", "split.json", "experiment.toml"):
        assert (found / name).read_bytes() == (expected / name).read_bytes(), name
    for name in ("best.pt", "last.pt"):
        first, second = (
            flat(torch.load(path / "checkpoints" / name, weights_only=True)) for path in (found, expected)
        )
        assert first.keys() == second.keys()
        for key in first.keys() - {"/seconds"}:
            same = (
                torch.equal(first[key], second[key])
                if isinstance(first[key], torch.Tensor)
                else first[key] == second[key] or first[key] != first[key]
            )
            assert same, (name, key)
    first, second = results(found), results(expected)
    for key in ("durations", "resumed_after_epoch", "started"):
        first.pop(key, None), second.pop(key, None)
    assert first == second
    names = {path.name for path in found.rglob("*")}
    assert names == {path.name for path in expected.rglob("*")} | {".lock"}


def run_whole(launcher: Launcher, folder: Path) -> Path:
    """Run the experiment without an interruption; return the run directory."""
    finished = run(launcher, folder)
    assert finished.code == 0, finished.err
    (directory,) = directories(folder)
    return directory
