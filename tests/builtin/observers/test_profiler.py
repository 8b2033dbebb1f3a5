"""The plugin `profiler`."""

from __future__ import annotations

import json

import pytest
from complaints import warns
from harness import run_all
from musicemo_builtin.observers.profiler import Profiler
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

pytestmark = [pytest.mark.usefixtures("fakes"), pytest.mark.slow]


def test_some_steps_are_profiled_and_the_results_are_the_same(tmp_path):
    batch = "training.batch_size=4"
    (plain,) = run_all(tmp_path, batch, runs="plain")
    (outcome,) = run_all(tmp_path, batch, plugins=[Profiler(epoch=2, skip=2, steps=3)])
    assert outcome.results["metrics"] == plain.results["metrics"]
    table = (outcome.directory / "profile.txt").read_text()
    assert "aten::addmm" in table
    events = json.loads((outcome.directory / "profile.pt.trace.json").read_text())["traceEvents"]
    steps = {event["name"] for event in events if event.get("name", "").startswith("ProfilerStep")}
    assert len(steps) == 3
    accumulator = EventAccumulator(str(outcome.directory))
    accumulator.Reload()
    (text,) = accumulator.Tensors("profile/text_summary")
    assert text.step == 2
    assert b"aten::addmm" in text.tensor_proto.string_val[0]


def test_an_epoch_with_few_steps_is_profiled_as_far_as_it_goes(tmp_path):
    (outcome,) = run_all(tmp_path, "training.batch_size=16", plugins=[Profiler(skip=1, steps=100)])
    assert (outcome.directory / "profile.txt").exists()
    with warns("profiler: epoch 1 has no step after the first 50. Reduce skip"):
        (outcome,) = run_all(tmp_path, "training.batch_size=16", plugins=[Profiler(skip=50)])
    assert not (outcome.directory / "profile.txt").exists()


def test_an_epoch_that_is_not_trained_is_a_warning(tmp_path):
    with warns("profiler: epoch 9 was not trained, so there is no profile. Reduce epoch"):
        (outcome,) = run_all(tmp_path, "training.epochs=2", plugins=[Profiler(epoch=9)])
    assert not (outcome.directory / "profile.txt").exists()
