"""Optimizer steps on the gradients of several batches."""

import math

import fakes as components
import pytest
import torch
from harness import LINEAR, Average, assemble, train
from musicemo_builtin.weightings.gradnorm import GradNorm
from musicemo_builtin.weightings.mgda import MGDA

from musicemo.errors import InputError
from musicemo.hookspecs import hookimpl
from musicemo.training.scoring import Collected
from musicemo.training.step import OptimizationStep

pytestmark = pytest.mark.usefixtures("fakes")

SGD = "training.optimizer={ type = 'sgd', lr = 0.5, momentum = 0.9 }"


@pytest.fixture
def _average(fakes):
    fakes("model", "average", Average)


def assert_close(ours, theirs):
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        torch.testing.assert_close(ours[name], value, rtol=1e-4, atol=1e-6)


@pytest.mark.usefixtures("_average")
@pytest.mark.slow
@pytest.mark.parametrize("size", [7, 16])  # the last batch is smaller: the batches are weighted by their tracks
@pytest.mark.parametrize("clip", [[], ["training.clip_gradient_norm=0.05"]])
def test_all_batches_of_an_epoch_are_one_large_batch(size, clip, tmp_path):
    shared = [SGD, *clip]
    whole = train(tmp_path, *shared, "training.batch_size=100", text=LINEAR, runs="whole")
    parts = train(
        tmp_path, *shared, f"training.batch_size={size}", "training.accumulate=100", text=LINEAR, runs="parts"
    )
    for ours, theirs in zip(parts.weights, whole.weights, strict=True):
        assert_close(ours, theirs)
    for ours, theirs in zip(parts.run.history, whole.run.history, strict=True):
        assert ours["train/gradient_norm"] == pytest.approx(theirs["train/gradient_norm"], rel=1e-4)


class Steps:
    """Counts the batches and keeps the weights after each."""

    def __init__(self):
        self.weights = []

    @hookimpl
    def musicemo_batch_finished(self, run):
        self.weights.append(torch.cat([p.detach().flatten() for p in run.network.parameters()]))


def test_a_step_has_so_many_batches_and_the_last_one_those_that_are_left(fakes, tmp_path):
    finished = []

    class Counting(components.Learned):
        def step_finished(self, losses):
            finished.append(sorted(losses))

    fakes("weighting", "counting", Counting)
    steps = Steps()
    train(
        tmp_path,
        *("weighting.type='counting'", "training.epochs=2", "training.batch_size=8", "training.accumulate=2"),
        plugins=[steps],
    )
    batches = len(steps.weights) // 2
    assert batches % 2 == 1  # so that one is left
    moved = [
        not torch.equal(before, after) for before, after in zip(steps.weights, steps.weights[1:], strict=False)
    ]
    expected = [number % 2 == 0 or number == batches for number in range(1, batches + 1)] * 2
    assert moved == expected[1:]
    assert len(finished) == 2 * math.ceil(batches / 2)


def gradients(prepared, batches, scaled):
    """Return the gradients of a step on batches."""
    step = OptimizationStep(prepared, "min")
    if scaled:
        step._scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    prepared.network.eval()  # without dropout
    for number, batch in enumerate(batches, start=1):
        step(batch, Collected(), f"batch {number}", last=number == len(batches))
    modules = {"network": prepared.network, "weighting": prepared.weighting}
    return {
        f"{kind}.{name}": p.grad.clone()
        for kind, module in modules.items()
        for name, p in module.named_parameters()
    }


@pytest.mark.slow
@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("weighting", ["sum", "learned", "gradnorm", "mgda"])
def test_the_gradient_of_a_step_is_the_weighted_mean_of_its_batches(weighting, scaled, fakes, tmp_path):
    fakes("weighting", "gradnorm", GradNorm)
    fakes("weighting", "mgda", MGDA)

    def prepared():
        one = assemble(
            tmp_path, f"weighting.type='{weighting}'", "training.accumulate=3", "training.batch_size=14"
        )
        if weighting == "gradnorm":
            one.weighting.first.fill_(1.0)  # otherwise the losses of the first batch
        return one

    batches = list(prepared().batches["train"].epoch(1))
    sizes = [len(batch.indices) for batch in batches]
    assert len(set(sizes)) > 1
    ours = gradients(prepared(), batches, scaled)
    alone = [gradients(prepared(), [batch], scaled) for batch in batches]
    assert any(key.startswith("weighting") for key in ours) == (weighting in ("learned", "gradnorm"))
    for key, value in ours.items():
        mean = sum(size * one[key] for size, one in zip(sizes, alone, strict=True)) / sum(sizes)
        torch.testing.assert_close(value, mean, rtol=1e-4, atol=1e-6)


def test_a_weighting_that_compares_the_losses_around_a_step_is_refused(fakes, tmp_path):
    class Remeasuring(components.Sum):
        remeasures = True

    fakes("weighting", "remeasuring", Remeasuring)
    with pytest.raises(
        InputError, match=r"training\.accumulate: must be 1, not 2: the weighting 'remeasuring'"
    ):
        assemble(tmp_path, "weighting.type='remeasuring'", "training.accumulate=2")
    assemble(tmp_path, "weighting.type='remeasuring'")
