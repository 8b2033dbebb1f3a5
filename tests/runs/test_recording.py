"""What a run leaves in its directory."""

from __future__ import annotations

import csv
import errno
import hashlib
import json
import logging
import os
import tomllib
import warnings

import fakes as fakes_module
import numpy as np
import pytest
import torch
from complaints import warns
from harness import Recorder, load, only_run, results_of, run_all, train
from scipy.stats import spearmanr

from musicemo import __version__
from musicemo.errors import RunError
from musicemo.experiment import load_experiment
from musicemo.hookspecs import hookimpl
from musicemo.messages import shown
from musicemo.runs import describe_environment

pytestmark = pytest.mark.usefixtures("fakes")


@pytest.fixture
def done(tmp_path):
    """Return the directory of a finished run, and what its hooks saw."""
    recorder = train(tmp_path)
    return recorder.run.directory, recorder


def test_results_are_those_that_scripts_rest_on(done):
    directory, recorder = done
    found = results_of(directory)
    assert found["status"] == "done"
    assert found["best_epoch"] == recorder.run.stopping.best_epoch
    assert found["epochs"] == 3
    assert (found["name"], found["seed"], found["fold"]) == ("small", 0, None)
    assert found["monitor"] == {"name": "val/loss", "mode": "min"}
    assert found["parameters"] == recorder.run.network.parameter_count
    assert found["warnings"] == []
    assert set(found["durations"]) == {"training", "evaluation"}
    assert all(seconds > 0 for seconds in found["durations"].values())
    assert list(found["metrics"]) == ["train", "val", "test"]
    for part, tasks in found["metrics"].items():
        assert list(tasks) == ["valence", "genre"]
        assert tasks["valence"]["tracks"] == len(recorder.run.split.parts[part])
        for task, names in (
            ("valence", ["spearman", "pearson", "ccc", "r2", "rmse", "mae"]),
            ("genre", ["accuracy", "macro_f1", "weighted_f1"]),
        ):
            for name in names:
                metric = tasks[task][name]
                assert list(metric) == ["value", "low", "high"]
                if part == "train":
                    assert (metric["low"], metric["high"]) == (None, None)
                else:
                    assert metric["low"] <= metric["high"]
        assert set(tasks["genre"]["per_class"]["folk"]) == {"precision", "recall", "f1", "support"}
        assert np.sum(tasks["genre"]["confusion_matrix"]) == tasks["genre"]["tracks"]


def test_metrics_follow_from_the_predictions_as_written(done):
    directory, _ = done
    with (directory / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    metrics = results_of(directory)["metrics"]
    for part in ("train", "val", "test"):
        of_part = [row for row in rows if row["part"] == part]
        valence = [(float(r["target"]), float(r["prediction"])) for r in of_part if r["task"] == "valence"]
        target, prediction = np.array(valence).T
        assert target.min() >= 1
        assert target.max() <= 9
        found = metrics[part]["valence"]
        assert found["spearman"]["value"] == pytest.approx(spearmanr(target, prediction).statistic)
        assert found["rmse"]["value"] == pytest.approx(np.sqrt(np.mean((target - prediction) ** 2)))
        genre = [r["target"] == r["prediction"] for r in of_part if r["task"] == "genre"]
        assert metrics[part]["genre"]["accuracy"]["value"] == pytest.approx(np.mean(genre))


def test_ratings_are_written_in_their_own_units(done):
    directory, recorder = done
    truth = {track.id: track.targets["valence"] for track in recorder.run.tracks.tracks}
    with (directory / "predictions.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["task"] == "valence"]
    assert len(rows) == len(truth)
    for row in rows:
        assert float(row["target"]) == pytest.approx(truth[row["track"]], abs=1e-6)


def test_the_split_is_written_with_its_hash(done):
    directory, recorder = done
    split = json.loads((directory / "split.json").read_text())
    ids = {part: split[part] for part in ("train", "val", "test")}
    assert sorted([*ids["train"], *ids["val"], *ids["test"]]) == sorted(recorder.run.tracks.ids)

    def digest(value):
        return hashlib.sha256(json.dumps(value).encode()).hexdigest()

    hashes = {part: digest(sorted(names)) for part, names in ids.items()}
    assert split["groups"] == {one.id: one.group for one in recorder.run.tracks.tracks if one.group}
    assert split["classes"]["genre"] == {one.id: one.targets["genre"] for one in recorder.run.tracks.tracks}
    assert split["hash"] == {**hashes, "all": digest(list(hashes.values()))}
    assert results_of(directory)["split"] == split["hash"]


@pytest.mark.slow
def test_the_resolved_experiment_is_an_experiment_that_gives_the_same_run(done, tmp_path):
    directory, recorder = done
    path = directory / "experiment.toml"
    assert tomllib.loads(path.read_text()) == recorder.run.settings
    again = load_experiment(path)
    assert again.resolved(0) == recorder.run.settings
    from harness import hooks_of

    from musicemo.running.execute import run_experiment

    (outcome,) = run_experiment(again, tmp_path / "again", hooks_of())
    for name in ("predictions.csv", "split.json", "experiment.toml"):
        assert (outcome.directory / name).read_bytes() == (directory / name).read_bytes()


def test_the_environment_is_written(done):
    directory, _ = done
    found = json.loads((directory / "environment.json").read_text())
    assert found["musicemo"] == __version__
    assert found["packages"]["torch"] == torch.__version__
    assert found["device"] == "cpu"
    assert found["plugins"] == {"fake": "1.0"}
    assert isinstance(found["command"], list)
    assert {"python", "platform", "processor", "cores", "threads"} <= set(found)


def test_a_package_that_is_not_installed_has_no_version(monkeypatch):
    from musicemo.runs import environment

    monkeypatch.setattr(environment, "_PACKAGES", ("torch", "no-such-package"))
    assert describe_environment(torch.device("cpu"))["packages"] == {
        "torch": torch.__version__,
        "no-such-package": None,
    }


def test_nothing_is_left_over(done):
    directory, _ = done
    assert sorted(str(path.relative_to(directory)) for path in directory.rglob("*")) == [
        ".lock",
        "checkpoints",
        "checkpoints/best.pt",
        "checkpoints/last.pt",
        "environment.json",
        "experiment.toml",
        "history.jsonl",
        "predictions.csv",
        "probabilities.csv",
        "results.json",
        "split.json",
    ]


class Warner:
    """Warns of one thing in every epoch and of another once, as libraries do, and as musicemo does."""

    @hookimpl
    def musicemo_epoch_finished(self, record):
        warnings.warn("the loss is odd", stacklevel=1)
        if record["epoch"] == 2:
            logging.getLogger(__name__).warning("%s epoch", "the second")


@pytest.mark.filterwarnings("always")
def test_warnings_are_recorded_by_each_run_and_shown_once(tmp_path, capsys):
    with shown():
        run_all(tmp_path, "seeds=[0, 1]", plugins=[Warner()])
    for directory in (tmp_path / "runs" / "small").iterdir():
        assert results_of(directory)["warnings"] == ["the loss is odd", "the second epoch"]
    assert capsys.readouterr().err == "warning: the loss is odd\nwarning: the second epoch\n"


class Failing:
    """A hook that raises at a moment."""

    def __init__(self, error, epoch=2):
        self.error, self.epoch = error, epoch

    @hookimpl
    def musicemo_batch_finished(self, epoch):
        if epoch == self.epoch:
            raise self.error


def test_a_plugin_that_fails_is_left_out_and_the_run_goes_on(tmp_path):
    with warns(r"plugin 'plugin 1' failed in batch_finished.*ValueError: no luck"):
        recorder = train(tmp_path, plugins=[Failing(ValueError("no luck"))])
    found = results_of(recorder.run.directory)
    assert found["status"] == "done"
    assert len(found["warnings"]) == 1
    assert "no luck" in found["warnings"][0]


class BrokenSum(fakes_module.Sum):
    """A weighting that fails as no user could have foreseen."""

    def combine(self, losses):
        raise ZeroDivisionError("of a stranger's making")


def test_an_unforeseen_error_is_a_failure_with_a_traceback_in_a_file(fakes, tmp_path):
    fakes("weighting", "broken", BrokenSum)
    with pytest.raises(
        RunError, match=r"^ZeroDivisionError: of a stranger's making \(traceback in .*error\.txt\)"
    ):
        train(tmp_path, "weighting.type='broken'")
    directory = only_run(tmp_path)
    assert results_of(directory)["status"] == "failed"
    assert results_of(directory)["error"] == "of a stranger's making"
    assert "ZeroDivisionError" in (directory / "error.txt").read_text()
    assert "Traceback" in (directory / "error.txt").read_text()


def test_too_little_memory_is_told_with_what_helps(fakes, tmp_path):
    class Hungry(fakes_module.Sum):
        def combine(self, losses):
            raise torch.OutOfMemoryError("CUDA out of memory")

    fakes("weighting", "hungry", Hungry)
    with pytest.raises(RunError, match=r"out of memory. Try a smaller training\.batch_size"):
        train(tmp_path, "weighting.type='hungry'")


def test_the_error_of_a_failed_run_is_gone_once_it_was_resumed(fakes, tmp_path):
    class Moody(fakes_module.Sum):
        broken = True

        def combine(self, losses):
            if self.broken:
                raise ZeroDivisionError
            return super().combine(losses)

    fakes("weighting", "moody", Moody)
    with pytest.raises(RunError):
        train(tmp_path, "weighting.type='moody'")
    Moody.broken = False
    train(tmp_path, "weighting.type='moody'", resume=True)
    directory = only_run(tmp_path)
    assert results_of(directory)["status"] == "done"
    assert "error" not in results_of(directory)
    assert not (directory / "error.txt").exists()


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3)])
def test_an_end_from_outside_is_passed_on(error, fakes, tmp_path):
    class Ended(fakes_module.Sum):
        def combine(self, losses):
            raise error

    fakes("weighting", "ended", Ended)
    recorder = Recorder()
    with pytest.raises(type(error)):
        run_all(tmp_path, "weighting.type='ended'", plugins=[recorder])
    status = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
    assert results_of(only_run(tmp_path))["status"] == status
    assert recorder.calls[-1] == ("run_failed", error)


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 2, 5, 6, 7, 11, 12, 13])
def test_a_full_disk_fails_the_run_and_nothing_is_half_written(count, tmp_path, monkeypatch):
    fsync, calls = os.fsync, 0

    def full(descriptor):
        nonlocal calls
        calls += 1
        if calls >= count:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunError, match=r"cannot be written: No space left on device") as caught:
        train(tmp_path)
    assert caught.value.exit_code == 1
    if count == 1:  # there is nothing to continue
        assert list((tmp_path / "runs").glob("*/*")) == []
        return
    directory = only_run(tmp_path)
    for path in directory.rglob("*"):
        assert path.name == ".lock" or not path.name.startswith(".")
        if path.suffix == ".json":
            json.loads(path.read_text())
        if path.suffix == ".pt":
            torch.load(path, weights_only=True)
    if (directory / "results.json").exists():
        assert results_of(directory)["status"] == "running"
    assert not (directory / "predictions.csv").exists() or count == 13
    monkeypatch.undo()


@pytest.mark.slow
def test_a_run_on_a_disk_that_was_full_for_a_while_can_be_resumed(tmp_path, monkeypatch):
    whole = train(tmp_path, runs="whole")
    fsync, calls = os.fsync, 0

    def full(descriptor):
        nonlocal calls
        calls += 1
        if calls == 9:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(RunError, match="No space left"):
            train(tmp_path)
    assert results_of(only_run(tmp_path))["status"] == "failed"
    recorder = train(tmp_path, resume=True)
    assert recorder.run.history == whole.run.history
    assert all(torch.equal(whole.weights[-1][name], w) for name, w in recorder.weights[-1].items())


class Gambler:
    """Draws random numbers when a run starts, as one who shows examples might."""

    @hookimpl
    def musicemo_run_started(self):
        torch.rand(3)
        np.random.random()  # noqa: NPY002  # as an older plugin would


@pytest.mark.slow
def test_a_plugin_that_draws_random_numbers_does_not_change_a_resumed_run(tmp_path):
    whole = train(tmp_path, plugins=[Gambler()], runs="whole")
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, plugins=[Gambler(), Failing(KeyboardInterrupt())])
    resumed = train(tmp_path, plugins=[Gambler()], resume=True)
    assert resumed.run.history == whole.run.history
    assert all(torch.equal(whole.weights[-1][name], w) for name, w in resumed.weights[-1].items())


@pytest.mark.slow
def test_a_finished_replicate_is_skipped(tmp_path):
    (first,) = run_all(tmp_path)
    (second,) = run_all(tmp_path, resume=True)
    assert (first.skipped, second.skipped) == (False, True)
    assert second.directory == first.directory
    assert second.results == results_of(first.directory)
    assert load(tmp_path).seeds == [second.seed]


def test_an_interruption_before_training_leaves_no_folder(fakes, monkeypatch, tmp_path):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("musicemo.running.execute.Trainer", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_all(tmp_path)
    assert list((tmp_path / "runs").glob("*/*")) == []
