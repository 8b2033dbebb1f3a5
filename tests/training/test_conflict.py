import math
import shutil

import fakes
import pytest
import torch
from harness import only_run, results_of, run_all, train
from torch import nn

from musicemo.contracts import Step
from musicemo.errors import InputError
from musicemo.hookspecs import hookimpl
from musicemo.training.conflict import GradientConflict

TEXT = fakes.EXPERIMENT.replace('type = "memory"', 'type = "memory"\nmissing = 0.2') + (
    '[tasks.energy]\nloss = { type = "squared-error" }\n'
)
ON = "training.gradient_diagnostics={ every = 2 }"
DROPOUT = "head={ hidden = [6], dropout = 0.4 }"

A, B, C = [3.0, 4.0, 0.0], [-3.0, 0.0, 0.0], [0.0, 0.0, 2.0]


def measured(*steps, tasks=("a", "b", "c")):
    """Return what is measured of steps in which the tasks have these gradients."""
    conflict = GradientConflict(tasks, every=1)
    for rows in steps:
        shared = nn.Parameter(torch.zeros(3))
        embedding = shared * 1.0
        losses = {task: (embedding * torch.tensor(row)).sum() for task, row in rows.items()}
        conflict.measure(losses, Step(embedding, [shared], {}, lambda loss: 8 * loss))
        assert shared.grad is None
    return conflict


def test_closed_form_of_norms_and_cosines():
    conflict = measured({"a": A, "b": B, "c": C})
    assert conflict.finish_epoch() == pytest.approx(
        {
            "gradient/a/norm": 5.0,
            "gradient/b/norm": 3.0,
            "gradient/c/norm": 2.0,
            "gradient/a:b/cosine": -0.6,
            "gradient/a:c/cosine": 0.0,
            "gradient/b:c/cosine": 0.0,
            "gradient/conflict": 1.0,
        }
    )


def test_means_are_over_the_steps_in_which_the_tasks_had_a_gradient():
    conflict = measured(
        {"a": A, "b": B}, {"b": B, "c": C}, {"a": [1.0, 0.0, 0.0], "b": [0.0, 0.0, 0.0]}, {"c": C, "a": A}
    )
    record = conflict.finish_epoch()
    assert record["gradient/a/norm"] == pytest.approx(11 / 3)
    assert record["gradient/b/norm"] == pytest.approx(2.0)
    assert record["gradient/a:b/cosine"] == pytest.approx(-0.6)
    assert record["gradient/conflict"] == 0.25
    summary = conflict.summary()
    assert summary["steps"] == 4
    assert summary["cosines"]["a"]["b"] == summary["cosines"]["b"]["a"] == pytest.approx(-0.6)
    assert summary["conflicts"] == {
        "a": {"b": 1.0, "c": 0.0},
        "b": {"a": 1.0, "c": 0.0},
        "c": {"a": 0.0, "b": 0.0},
    }


def test_the_summary_is_of_the_run_and_a_record_of_its_epoch():
    conflict = measured({"a": A, "b": B})
    assert conflict.finish_epoch()["gradient/a:b/cosine"] == pytest.approx(-0.6)
    assert conflict.finish_epoch() == {}
    assert conflict.summary()["cosines"]["a"]["b"] == pytest.approx(-0.6)


def test_an_overflow_and_a_frozen_backbone_are_left_out():
    conflict = measured({"a": [math.inf, 0.0, 0.0], "b": B})
    frozen = torch.zeros(3)
    conflict.measure(
        {"a": (frozen * nn.Parameter(torch.ones(3))).sum()}, Step(frozen, [], {}, lambda loss: loss)
    )
    assert conflict.finish_epoch() == {}
    assert conflict.summary()["conflict"] is None


@pytest.mark.slow
def test_measuring_changes_nothing(fakes, tmp_path):
    found = []
    for overrides in ([], [ON]):
        folder = tmp_path / f"{len(overrides)}"
        folder.mkdir()
        found.append(train(folder, DROPOUT, *overrides, text=TEXT).run)
    plain, watched = found
    assert any("/cosine" in key for key in watched.history[-1])
    kept = [
        {key: value for key, value in record.items() if not key.startswith("gradient/")}
        for record in watched.history
    ]
    assert kept == plain.history
    for key, value in plain.network.state_dict().items():
        assert torch.equal(value, watched.network.state_dict()[key])


def test_results_tell_of_every_second_step_of_the_run(fakes, tmp_path):
    train(tmp_path, ON, "training.epochs=3", text=TEXT)
    told = results_of(only_run(tmp_path))["gradients"]
    assert told["every"] == 2
    assert told["steps"] == math.ceil(3 * 3 / 2)  # three batches an epoch
    assert set(told["norms"]) == {"valence", "genre", "energy"}
    assert set(told["cosines"]["genre"]) == {"valence", "energy"}
    assert 0 <= told["conflict"] <= 1


def test_off_by_default(fakes, tmp_path):
    run = train(tmp_path, text=TEXT).run
    assert not [key for key in run.history[-1] if key.startswith("gradient/")]
    assert "gradients" not in results_of(only_run(tmp_path))


@pytest.mark.slow
def test_a_resumed_run_tells_the_same(fakes, tmp_path):
    class Interrupt:
        @hookimpl
        def musicemo_epoch_finished(self, record):
            if record["epoch"] == 1:
                raise KeyboardInterrupt

    for part in ("whole", "parts"):
        (tmp_path / part).mkdir()
    whole = train(tmp_path / "whole", ON, DROPOUT, text=TEXT).run
    with pytest.raises(KeyboardInterrupt):
        run_all(tmp_path / "parts", ON, DROPOUT, text=TEXT, plugins=[Interrupt()])
    resumed = train(tmp_path / "parts", ON, DROPOUT, text=TEXT, resume=True).run
    assert resumed.history == whole.history
    first, second = (results_of(only_run(tmp_path / part))["gradients"] for part in ("whole", "parts"))
    assert first == second


@pytest.mark.slow
@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda state: state.pop("conflict"), "does not fit this run: it has no 'conflict'"),
        (lambda state: state["conflict"].pop("norms"), "does not fit this run: it has no 'norms'"),
        (
            lambda state: state["conflict"].update(norms=torch.zeros(5)),
            "does not fit this run: ValueError: norms is not of 3 tasks",
        ),
        (lambda state: state["schedule"].pop("last_epoch"), "does not fit this run: it has no 'last_epoch'"),
        (lambda state: state.pop("schedule"), "does not fit this run: it has no 'schedule'"),
        (lambda state: state.pop("stopping"), "the checkpoint has no 'stopping'"),
        (lambda state: state["random"].pop("python"), "does not fit this run: it has no 'python'"),
        (lambda state: state.update(history=7), "the history has 0 of 1 epochs"),
        (lambda state: state.update(weighting=[]), "does not fit this run: TypeError: "),
    ],
)
def test_a_damaged_state_is_told_with_its_file(damage, told, fakes, tmp_path):
    class Interrupt:
        @hookimpl
        def musicemo_epoch_finished(self, record):
            raise KeyboardInterrupt

    schedule = "training.schedule={ type = 'cosine' }"
    with pytest.raises(KeyboardInterrupt):
        run_all(tmp_path, ON, schedule, text=TEXT, plugins=[Interrupt()])
    path, best = (only_run(tmp_path) / "checkpoints" / name for name in ("last.pt", "best.pt"))
    state = torch.load(path, weights_only=True)
    damage(state)
    torch.save(state, path)
    shutil.copy(path, best)
    with pytest.raises(InputError) as caught:
        run_all(tmp_path, ON, schedule, text=TEXT, resume=True)
    assert caught.value.problems[0].startswith(f"{path}: {told}")
    assert caught.value.problems[1].startswith(f"{best}: {told}")
    assert "--no-resume" in caught.value.problems[2]
