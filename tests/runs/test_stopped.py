"""A lifecycle plugin that stops a run."""

from __future__ import annotations

import pytest
from harness import load, run_all

from musicemo.components.hooks import Hooks
from musicemo.errors import RunStopped
from musicemo.hookspecs import hookimpl
from musicemo.reporting.sections.outcomes import run_line
from musicemo.reporting.sections.setup import notices
from musicemo.running.launching import Failure
from musicemo.running.prepare import RunOptions
from musicemo.running.sweep import Sweep, SweepResults
from musicemo.runs import find_run, open_run

pytestmark = pytest.mark.usefixtures("fakes", "one_thread")

FOUR = "training.epochs=4"


class Stop:
    """Stops a run after an epoch, or when it starts."""

    def __init__(self, epoch, *, evaluate=True):
        self.epoch, self.evaluate = epoch, evaluate

    @hookimpl
    def musicemo_run_started(self, run):
        if len(run.history) >= self.epoch:
            run.stop("enough", evaluate=self.evaluate)

    @hookimpl
    def musicemo_epoch_finished(self, run, record):
        if record["epoch"] == self.epoch:
            run.stop(f"epoch {self.epoch} is enough", evaluate=self.evaluate)
            run.stop("another reason")


def test_a_stopped_run_is_evaluated_and_recorded(tmp_path):
    (outcome,) = run_all(tmp_path, FOUR, plugins=[Stop(2)])
    record = open_run(outcome.directory)
    assert record.status == "done"
    assert record.results["stopped"] == {"reason": "epoch 2 is enough", "epoch": 2}
    assert (record.results["epochs"], len(record.history)) == (2, 2)
    assert record.metrics["test"]
    assert "of 2, stopped: epoch 2 is enough;" in str(run_line("a", outcome))
    assert any("after epoch 2: epoch 2 is enough" in notice.text for notice in notices([record]))


def test_a_stopped_run_is_continued_to_the_outcome_of_one_that_was_not(tmp_path):
    (whole,) = run_all(tmp_path, FOUR, runs="whole")
    (stopped,) = run_all(tmp_path, FOUR, plugins=[Stop(2)])
    (again,) = run_all(tmp_path, FOUR, plugins=[Stop(2)], resume=True)
    assert again.results["stopped"] == {"reason": "enough", "epoch": 2}
    assert again.results["metrics"] == stopped.results["metrics"]
    (resumed,) = run_all(tmp_path, FOUR, resume=True)
    assert resumed.directory == stopped.directory
    assert resumed.results["resumed_after_epoch"] == 2
    assert "stopped" not in resumed.results
    assert resumed.results["metrics"] == whole.results["metrics"]
    (skipped,) = run_all(tmp_path, FOUR, resume=True)
    assert skipped.skipped


def test_a_run_that_ends_anyway_is_not_stopped(tmp_path):
    (last,) = run_all(tmp_path, FOUR, plugins=[Stop(4)])
    assert "stopped" not in last.results
    patience = "training.early_stopping={ patience = 1, min_delta = 100.0 }"
    (patient,) = run_all(tmp_path, FOUR, patience, plugins=[Stop(2)])
    assert patient.results["epochs"] == 2
    assert "stopped" not in patient.results


def test_a_run_trains_at_least_one_epoch(tmp_path):
    (outcome,) = run_all(tmp_path, FOUR, plugins=[Stop(0)])
    assert outcome.results["stopped"] == {"reason": "enough", "epoch": 1}


def test_without_an_evaluation_the_run_is_interrupted_and_resumable(tmp_path):
    (whole,) = run_all(tmp_path, FOUR, runs="whole")
    with pytest.raises(RunStopped, match="stopped after epoch 1: epoch 1 is enough"):
        run_all(tmp_path, FOUR, plugins=[Stop(1, evaluate=False)])
    record = find_run(tmp_path / "runs" / "small", whole.results["fingerprint"])
    assert record.status == "interrupted"
    assert record.results["stopped"] == {"reason": "epoch 1 is enough", "epoch": 1}
    assert not record.metrics
    assert not (record.directory / "predictions.csv").exists()
    (resumed,) = run_all(tmp_path, FOUR, resume=True)
    assert (resumed.directory, resumed.results["metrics"]) == (record.directory, whole.results["metrics"])


def test_a_sweep_reports_stopped_runs(tmp_path):
    hooks = Hooks()
    hooks.register(Stop(1, evaluate=False), "stop")
    experiment = load(tmp_path, FOUR, "seeds=[0, 1]")
    results = SweepResults(2)
    for replicate, result in Sweep([experiment], RunOptions(resume=False), jobs=1).run(
        tmp_path / "runs", hooks
    ):
        assert isinstance(result, Failure)
        results.add(replicate, result)
    with pytest.raises(RunStopped, match="2 of 2 runs were stopped by a plugin") as caught:
        results.raise_failures()
    assert caught.value.exit_code == 130


def test_a_stop_needs_a_reason(tmp_path):
    class Silent:
        @hookimpl
        def musicemo_run_started(self, run):
            for reason in ("", " ", None):
                with pytest.raises(ValueError, match="needs the reason"):
                    run.stop(reason)

    (outcome,) = run_all(tmp_path, plugins=[Silent()])
    assert "stopped" not in outcome.results
