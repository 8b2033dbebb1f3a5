"""A run that is killed at any moment and resumed ends as one that was not."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import time
from pathlib import Path

import pytest
import torch
from resuming import EXPERIMENT, SEED, assert_same_run, directories, kill_at, results, run, run_whole

from musicemo.runs import RunDirectory

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def whole(launcher, tmp_path_factory) -> Path:
    """Return the directory of a run that nothing interrupted."""
    directory = run_whole(launcher, tmp_path_factory.mktemp("whole"))
    found = results(directory)
    assert found["best_epoch"] < found["epochs"] == found["best_epoch"] + 2 < 12
    rates = [
        json.loads(line)["learning_rate"] for line in (directory / "history.jsonl").read_text().splitlines()
    ]
    assert len(set(rates)) > 1
    return directory


#: The order of what is written: the experiment, environment and split, results, history; then in each epoch the
#: best checkpoint where it is, the last one, history; predictions and results in the end.
MOMENTS = [
    "run_started",
    "batch_finished:1:2",
    "before:os.replace:6",
    "after:os.replace:6",
    "after:os.replace:7",
    "epoch_finished:1",
    "batch_finished:3:1",
    "epoch_finished:3",
    "evaluated:test",
    "run_finished",
]


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_killed_run_ends_the_same_when_resumed(moment, launcher, whole, tmp_path):
    assert run(launcher, tmp_path, moment=moment).code == -signal.SIGKILL
    (directory,) = directories(tmp_path)
    assert results(directory)["status"] == "running"
    resumed = run(launcher, tmp_path, "--resume")
    assert resumed.code == 0, resumed.err
    assert directories(tmp_path) == [directory]
    assert_same_run(directory, whole)


BUILT_IN = """\
name = "built-in"
dataset = { type = "memory", tracks = 40 }
head = { dropout = 0.4 }
weighting.type = "uncertainty"
evaluation.resamples = 100
training = { epochs = 3, batch_size = 8, device = "cpu", clip_gradient_norm = 1.0, schedule = { type = "cosine" } }
tasks.valence.loss = [{ type = "mse" }, { type = "pearson", weight = 0.1 }]
tasks.genre = {}
"""


@pytest.mark.parametrize(
    "model",
    [
        '{ type = "lstm", layers = 2, hidden = 6, dropout = 0.3, pooling = "attention" }',
        '{ type = "cnn", channels = [4], kernels = [3] }',
    ],
)
def test_built_in_networks_end_the_same_when_resumed(model, launcher, tmp_path):
    """Dropout between layers, running means and deviations, parameters of a weighting."""
    text = BUILT_IN + f"model = {model}\n"
    assert run(launcher, tmp_path, "--runs", "whole", text=text).code == 0
    (whole,) = (tmp_path / "whole").glob("*/*")
    for moment in ("batch_finished:1:2", "batch_finished:2:2", "epoch_finished:3"):
        assert run(launcher, tmp_path, "--resume", moment=moment, text=text).code == -signal.SIGKILL
    assert run(launcher, tmp_path, "--resume", text=text).code == 0
    (directory,) = directories(tmp_path)
    assert_same_run(directory, whole)


def test_a_run_killed_again_and_again_ends_the_same(launcher, whole, tmp_path):
    for moment in (
        "epoch_finished:1",
        "batch_finished:2:1",
        "before:os.replace:6",
        "evaluated:val",
        "run_finished",
    ):
        assert run(launcher, tmp_path, "--resume", moment=moment).code == -signal.SIGKILL, moment
    assert run(launcher, tmp_path, "--resume").code == 0
    (directory,) = directories(tmp_path)
    assert_same_run(directory, whole)


@pytest.mark.parametrize("moment", ["before:os.replace:1", "before:os.replace:3"])
def test_a_run_killed_before_it_trained_is_begun_again(moment, launcher, whole, tmp_path):
    assert run(launcher, tmp_path, moment=moment).code == -signal.SIGKILL
    (begun,) = directories(tmp_path)
    assert (begun / "results.json").exists() == (moment == "before:os.replace:3")
    created = begun.stat().st_ino
    long_ago = time.time() - 86400
    os.utime(begun, (long_ago, long_ago))
    assert run(launcher, tmp_path, "--resume").code == 0
    (directory,) = directories(tmp_path)
    if moment == "before:os.replace:3":
        assert (directory, directory.stat().st_ino) == (begun, created)
    assert_same_run(directory, whole)


@pytest.mark.parametrize(
    ("moment", "with_signal"), [("batch_finished:2:2", signal.SIGINT), ("evaluated:val", signal.SIGTERM)]
)
def test_an_interruption_is_recorded_and_can_be_resumed(moment, with_signal, launcher, whole, tmp_path):
    (tmp_path / "experiment.toml").write_text(EXPERIMENT)
    finished = launcher.run("run", "experiment.toml", folder=tmp_path, environment=kill_at(moment, with_signal))
    assert finished.code == 130
    assert re.fullmatch("interrupted: .*--resume.*\n", finished.err)
    (directory,) = directories(tmp_path)
    assert results(directory)["status"] == "interrupted"
    assert not (directory / "error.txt").exists()
    assert run(launcher, tmp_path, "--resume").code == 0
    assert "error" not in results(directory)
    assert_same_run(directory, whole)


def test_a_finished_run_is_left_alone(launcher, whole, tmp_path):
    shutil.copytree(whole.parents[1], tmp_path / "runs")
    (directory,) = directories(tmp_path)
    before = {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in directory.rglob("*")}
    finished = run(launcher, tmp_path, "--resume")
    assert finished.code == 0
    assert "done before" in finished.out
    assert directories(tmp_path) == [directory]
    after = {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in directory.rglob("*")}
    del after[directory / ".lock"], before[directory / ".lock"]
    assert after == before


def test_a_finished_run_is_repeated_without_resume(launcher, whole, tmp_path):
    shutil.copytree(whole.parents[1], tmp_path / "runs")
    assert run(launcher, tmp_path).code == 0
    first, second = directories(tmp_path)
    assert_same_run(second, first)


def test_nothing_to_resume_begins_a_new_run(launcher, tmp_path):
    finished = run(launcher, tmp_path, "--resume", text=SEED)
    assert finished.code == 0
    assert "resumed" not in finished.out
    assert len(directories(tmp_path)) == 1


@pytest.mark.parametrize("change", ["training.epochs=3", "seed=9", "dataset.tracks=50"])
def test_a_run_of_another_experiment_is_not_resumed(change, launcher, tmp_path):
    assert run(launcher, tmp_path, moment="epoch_finished:1", text=SEED).code == -signal.SIGKILL
    assert run(launcher, tmp_path, "--resume", "--set", change, text=SEED).code == 0
    first, second = directories(tmp_path)
    assert results(first)["status"] == "running"
    assert results(second)["status"] == "done"


@pytest.mark.parametrize("change", ["training.cache='disk'", "description='said otherwise'"])
def test_what_does_not_change_the_outcome_may_change(change, launcher, tmp_path):
    assert run(launcher, tmp_path, moment="epoch_finished:1", text=SEED).code == -signal.SIGKILL
    finished = run(launcher, tmp_path, "--resume", "--set", change, text=SEED)
    assert "resumed after epoch 1" in finished.out
    assert len(directories(tmp_path)) == 1


def test_a_run_that_another_process_writes_to_is_not_touched(launcher, tmp_path):
    assert run(launcher, tmp_path, moment="epoch_finished:1", text=SEED).code == -signal.SIGKILL
    (held,) = directories(tmp_path)
    content = {path: path.read_bytes() for path in held.rglob("*") if path.is_file()}
    with RunDirectory(held):
        finished = run(launcher, tmp_path, "--resume", text=SEED)
    assert finished.code == 0
    assert re.search(r"process \d+ on .* is training this run, so it is skipped here", finished.err)
    assert "1 of 1 runs are in progress in other processes" in finished.out
    assert content == {path: path.read_bytes() for path in held.rglob("*") if path.is_file()}
    assert directories(tmp_path) == [held]


def test_replicates_that_are_done_are_left_and_the_rest_is_run(launcher, tmp_path):
    text = SEED.replace('name = "other"', 'name = "other"\nseeds = [0, 1, 2]')
    killed = run(launcher, tmp_path, "--jobs", "1", text=text, moment="after:os.replace:20")
    assert killed.code == -signal.SIGKILL
    statuses = [results(directory)["status"] for directory in directories(tmp_path)]
    assert statuses == ["done", "running"]
    finished = run(launcher, tmp_path, "--resume", "--jobs", "1", text=text)
    assert finished.code == 0
    assert [results(directory)["status"] for directory in directories(tmp_path)] == ["done"] * 3
    assert finished.out.count("done before") == 1
    assert "mean ± standard deviation over 3 seeds" in finished.out


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.write_bytes(b"hello"), "is not a readable checkpoint"),
        (lambda path: torch.save({"format": 1, "network": {}}, path), "the checkpoint has no 'epoch'"),
    ],
)
def test_a_damaged_checkpoint_is_named(damage, message, launcher, tmp_path):
    assert run(launcher, tmp_path, moment="epoch_finished:1", text=SEED).code == -signal.SIGKILL
    (directory,) = directories(tmp_path)
    path = directory / "checkpoints" / "last.pt"
    damage(path)
    damage(directory / "checkpoints" / "best.pt")
    finished = run(launcher, tmp_path, "--resume", text=SEED)
    assert finished.code == 2
    assert finished.err.startswith(f"error: {path.relative_to(tmp_path)}: {message}")
    assert results(directory)["status"] == "failed"


def test_warnings_before_and_after_a_resumption_are_kept(launcher, tmp_path):
    assert run(launcher, tmp_path, moment="epoch_finished:1", text=SEED).code == -signal.SIGKILL
    (directory,) = directories(tmp_path)
    found = results(directory)
    (directory / "results.json").write_text(json.dumps({**found, "warnings": ["said before"]}))
    assert run(launcher, tmp_path, "--resume", text=SEED).code == 0
    assert results(directory)["warnings"] == ["said before"]
