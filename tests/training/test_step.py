"""Optimization steps: gradients and their norms, weightings, precision, what is not finite."""

import math

import fakes as components
import numpy as np
import pytest
import torch
from harness import LINEAR, Average, Recorder, assemble, only_run, results_of, run_all, train
from torch import nn

from musicemo.contracts import GradientWeighting
from musicemo.errors import RunError
from musicemo.training import load_checkpoint

pytestmark = pytest.mark.usefixtures("fakes")


@pytest.mark.parametrize("limit", [0.01, 1e6])
def test_gradients_are_clipped_to_their_norm(limit, fakes, tmp_path):
    fakes("model", "average", Average)
    overrides = [
        "training.optimizer={ type = 'sgd', lr = 0.5, momentum = 0.0 }",
        "training.epochs=1",
        "training.batch_size=100",
        f"training.clip_gradient_norm={limit}",
    ]
    before = assemble(tmp_path, *overrides, text=LINEAR).network.state_dict()
    recorder = train(tmp_path, *overrides, text=LINEAR)
    after = recorder.weights[0]
    moved = torch.cat([(after[name] - before[name]).flatten() for name in after]).norm().item()
    norm = recorder.run.history[0]["train/gradient_norm"]
    assert norm > 0.01
    assert moved == pytest.approx(0.5 * min(norm, limit), rel=1e-4)


@pytest.mark.slow
def test_bfloat16_computes_in_less_precision_and_keeps_float32_weights(tmp_path):
    half = train(tmp_path, "training.precision='bfloat16'", runs="half")
    full = train(tmp_path, runs="full")
    assert all(weight.dtype == torch.float32 for weight in half.weights[-1].values())
    first, second = half.run.history[0]["train/loss"], full.run.history[0]["train/loss"]
    assert first != second
    assert first == pytest.approx(second, rel=0.02)
    for evaluation in half.evaluations.values():
        assert evaluation.tasks["valence"].prediction.dtype == np.float64


class Broken(nn.Module):
    """Fails at its n-th call in training: a loss or a gradient that is not finite."""

    kind = "regression"

    def __init__(self, at: int, gradient: bool = False) -> None:
        super().__init__()
        self.calls, self.at, self.gradient = 0, at, gradient

    def forward(self, prediction, target):
        loss = ((prediction - target) ** 2).mean()
        if not torch.is_grad_enabled():
            return loss
        self.calls += 1
        if self.calls != self.at:
            return loss
        return (
            loss + (prediction - prediction.detach()).abs().sqrt().sum() if self.gradient else loss * math.nan
        )


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("at = 5", r"epoch 2, batch 2: the loss of task 'valence' is nan"),
        ("at = 1", r"epoch 1, batch 1: the loss of task 'valence' is nan"),
        (
            "at = 4, gradient = true",
            r"epoch 2, batch 1: a gradient is not finite \(losses: valence .*, genre .*\)",
        ),
    ],
)
def test_what_is_not_finite_ends_the_run_and_is_named(table, message, fakes, tmp_path):
    fakes("loss", "broken", Broken)
    with pytest.raises(RunError, match=message) as caught:
        train(tmp_path, f"tasks.valence.loss={{ type = 'broken', {table} }}")
    assert caught.value.exit_code == 1
    directory = only_run(tmp_path)
    results = results_of(directory)
    assert results["status"] == "failed"
    assert results["error"] == str(caught.value)
    assert not (directory / "predictions.csv").exists()
    for path in (directory / "checkpoints").iterdir():
        weights = load_checkpoint(path)["network"].values()
        assert all(weight.isfinite().all() for weight in weights)


class Overflowing(components.Learned):
    """Learns weights whose gradient overflows in the third step, as norms of gradients may; the network's do not."""

    steps = 0

    def backward(self, losses, step):
        objective = super().backward(losses, step)
        self.steps += 1
        if self.steps == 3:
            self.s.grad[1] = math.nan
        return objective


def test_what_is_not_finite_of_a_weighting_ends_the_run_and_is_named(fakes, tmp_path):
    fakes("weighting", "overflowing", Overflowing)
    with pytest.raises(
        RunError,
        match=r"epoch 1, batch 3: the gradient of the weighting's 's' of task 'genre' is not finite \(losses: valence",
    ):
        train(tmp_path, "weighting.type='overflowing'", "training.batch_size=8")
    assert results_of(only_run(tmp_path))["status"] == "failed"


def test_hooks_are_told_of_a_failure(fakes, tmp_path):
    fakes("loss", "broken", Broken)
    recorder = Recorder()
    with pytest.raises(RunError) as caught:
        run_all(tmp_path, "tasks.valence.loss={ type = 'broken', at = 2 }", plugins=[recorder])
    assert recorder.calls[-1] == ("run_failed", caught.value)
    assert [call for call in recorder.calls if call[0] == "run_finished"] == []


def test_a_weighting_is_told_of_steps_and_epochs(fakes, tmp_path):
    told = []

    class Told(components.Sum):
        def step_finished(self, losses):
            assert not torch.is_grad_enabled()
            told.append(sorted(losses))

        def epoch_finished(self, losses):
            told.append({name: float(value) for name, value in losses.items()})

    fakes("weighting", "told", Told)
    recorder = train(tmp_path, "weighting.type='told'", "training.epochs=1", "training.batch_size=18")
    record = recorder.run.history[0]
    epoch = {"valence": record["train/valence/loss"], "genre": record["train/genre/loss"]}
    assert told == [["genre", "valence"], ["genre", "valence"], epoch]


@pytest.mark.slow
def test_a_weighting_may_make_gradients_of_its_own(fakes, tmp_path):
    class PerTask(components.Sum):
        def backward(self, losses, step):
            assert step.embedding.shape[1] == 8
            assert len(step.shared) == 2
            assert [len(heads) for heads in step.heads.values()] == [4, 4]
            for number, loss in enumerate(losses.values()):
                step.scale(loss).backward(retain_graph=number < len(losses) - 1)
            return torch.stack(list(losses.values())).sum()

    fakes("weighting", "per-task", PerTask)
    own = train(tmp_path, "weighting.type='per-task'", runs="own").weights[-1]
    summed = train(tmp_path, runs="summed").weights[-1]
    assert all(torch.allclose(own[name], summed[name], atol=1e-5) for name in own)


@pytest.mark.slow
def test_frozen_parameters_stay_and_their_gradient_is_not_counted(fakes, tmp_path):
    class Frozen(components.MeanModel):
        def __init__(self, *, input_size):
            super().__init__(input_size=input_size)
            self.dense.requires_grad_(False)

    fakes("model", "frozen", Frozen)
    before = assemble(tmp_path, "model.type='frozen'").network.state_dict()
    after = train(tmp_path, "model.type='frozen'").weights[-1]
    assert torch.equal(after["backbone.dense.weight"], before["backbone.dense.weight"])
    assert not torch.equal(after["heads.valence.0.weight"], before["heads.valence.0.weight"])


class Weighing(GradientWeighting):
    """Gives the second task a weight that is not finite, in the second batch."""

    calls = 0

    def weigh(self, gradients, tasks):
        self.calls += 1
        weights = torch.ones(len(tasks))
        weights[1] = math.nan if self.calls == 2 else 1.0
        return weights


class Aggregating(GradientWeighting):
    """Returns a direction that is not finite, in the second batch."""

    calls = 0

    def aggregate(self, gradients, tasks):
        self.calls += 1
        return gradients.sum(0) / (1.0 if self.calls != 2 else 0.0)


class Combining(components.Learned):
    """Returns an objective that is not finite, in the second batch."""

    calls = 0

    def combine(self, losses):
        self.calls += 1
        return super().combine(losses) * (1.0 if self.calls != 2 else math.inf)


@pytest.mark.parametrize(
    ("weighting", "message"),
    [
        (
            Weighing,
            r"Weighing: weigh returns weights that are not finite \(valence 1, genre nan\); losses: valence",
        ),
        (
            Aggregating,
            r"Aggregating: aggregate returns a gradient that is not finite, .*\(tasks: valence, genre\)",
        ),
        (Combining, r"the objective of weighting Combining is inf \(losses: valence .*, genre"),
    ],
)
def test_a_weighting_whose_result_is_not_finite_is_named(weighting, message, fakes, tmp_path):
    fakes("weighting", "spoiled", weighting)
    with pytest.raises(RunError, match=rf"^epoch 1, batch 2: (weighting )?{message}"):
        train(tmp_path, "weighting.type='spoiled'", "training.epochs=1")
