"""The plugin `time-budget`."""

from __future__ import annotations

import pytest
from harness import load, run_all
from musicemo_builtin.observers.time_budget import TimeBudget

from musicemo.errors import InputError, RunStopped
from musicemo.hookspecs import hookimpl
from musicemo.training.run import Clock

pytestmark = pytest.mark.usefixtures("fakes")


@pytest.fixture
def clock(monkeypatch):
    """Let each epoch take 60 seconds."""
    seconds = [0.0]

    def read(self):
        return seconds[0]

    def write(self, value):
        seconds[0] = value

    class Tick:
        @hookimpl
        def musicemo_epoch_started(self):
            seconds[0] += 60

    monkeypatch.setattr(Clock, "seconds", property(read, write))
    return Tick()


@pytest.mark.parametrize(("minutes", "epochs"), [(1, 1), (2.5, 2), (3, 3), (0.1, 1)])
def test_the_training_ends_before_an_epoch_that_would_exceed_the_budget(tmp_path, clock, minutes, epochs):
    (outcome,) = run_all(tmp_path, "training.epochs=9", plugins=[clock, TimeBudget(minutes=minutes)])
    assert outcome.results["epochs"] == epochs
    assert outcome.results["stopped"] == {
        "reason": f"the time budget of {minutes:g} minutes is used up",
        "epoch": epochs,
    }


def test_a_run_within_its_budget_is_not_stopped(tmp_path, clock):
    (outcome,) = run_all(tmp_path, "training.epochs=3", plugins=[clock, TimeBudget(minutes=3)])
    assert "stopped" not in outcome.results


def test_a_larger_budget_continues_the_run(tmp_path, clock):
    options = {"resume": True}
    with pytest.raises(RunStopped, match="time budget of 2 minutes"):
        run_all(
            tmp_path, "training.epochs=4", plugins=[clock, TimeBudget(minutes=2, evaluate=False)], **options
        )
    (same,) = run_all(tmp_path, "training.epochs=4", plugins=[clock, TimeBudget(minutes=2)], **options)
    assert same.results["stopped"]["epoch"] == 2
    (outcome,) = run_all(tmp_path, "training.epochs=4", plugins=[clock, TimeBudget(minutes=3)], **options)
    assert (outcome.results["resumed_after_epoch"], outcome.results["stopped"]["epoch"]) == (2, 3)


def test_the_minutes_are_required(tmp_path, fakes):
    fakes("plugin", "time-budget", TimeBudget)
    with pytest.raises(InputError, match=r"plugins\.time-budget\.minutes: is required"):
        load(tmp_path, "plugins.time-budget={}")
