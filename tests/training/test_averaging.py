"""The exponential moving average of the weights: its values, its part in a run, and resumption."""

import math

import pytest
import torch
from harness import assemble, load, only_run, results_of, run_all, train
from torch import nn

from musicemo.errors import InputError
from musicemo.hookspecs import hookimpl
from musicemo.training import load_checkpoint
from musicemo.training.averaging import WeightAverage
from musicemo.training.scoring import Scorer

pytestmark = pytest.mark.usefixtures("fakes")

#: Every epoch counts: momentum, dropout, a best epoch that is not the last one.
SETTINGS = (
    "training={ epochs = 4, batch_size = 16, device = 'cpu', average = { decay = 0.6 } }",
    "training.optimizer={ type = 'adam', lr = 0.1 }",
    "training.early_stopping={ patience = false }",
    "weighting.type='learned'",
)


def decay(step, largest):
    return min(largest, (1 + step) / (10 + step))


def test_the_average_in_closed_form():
    net = nn.Linear(1, 1, bias=False)
    nn.init.constant_(net.weight, 1.0)
    average = WeightAverage(net, 0.25)
    expected = 1.0
    for step, value in enumerate([2.0, -1.0, 3.0, 0.5], start=1):
        nn.init.constant_(net.weight, value)
        average.update(net)
        rate = [2 / 11, 0.25, 0.25, 0.25][step - 1]
        expected = rate * expected + (1 - rate) * value
    with average.exchanged(net):
        assert net.weight.item() == pytest.approx(expected)
    assert net.weight.item() == 0.5
    assert average.steps == 4


@pytest.mark.slow
def test_the_average_is_torchs_own():
    torch.manual_seed(1)
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
    ours = WeightAverage(net, 0.5)

    def mean_of(mean, new, step):
        return torch.lerp(new, mean, decay(int(step), 0.5)) if new.is_floating_point() else new

    theirs = torch.optim.swa_utils.AveragedModel(net, avg_fn=mean_of, use_buffers=True)
    theirs.n_averaged.fill_(1)  # the initial weights count
    optimizer = torch.optim.SGD(net.parameters(), lr=0.5)
    for _ in range(12):
        optimizer.zero_grad()
        (net(torch.randn(8, 3)) ** 2).mean().backward()
        optimizer.step()
        ours.update(net)
        theirs.update_parameters(net)
    with ours.exchanged(net):
        values = {**dict(net.named_parameters()), **dict(net.named_buffers())}
        for name, expected in [*theirs.module.named_parameters(), *theirs.module.named_buffers()]:
            torch.testing.assert_close(values[name], expected)


def test_values_that_are_not_finite_or_not_trained_are_kept():
    class Masked(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(2), requires_grad=False)
            self.register_buffer("mask", torch.tensor([0.0, -math.inf]))

    net = Masked()
    average = WeightAverage(net, 0.9)
    for _ in range(3):
        average.update(net)
    with average.exchanged(net):
        assert net.mask.tolist() == [0.0, -math.inf]
    assert net.weight.tolist() == [1.0, 1.0]
    assert "weight" not in average.state_dict()


@pytest.mark.parametrize("value", [0, 1, 1.5])
def test_a_decay_is_between_0_and_1(value, tmp_path):
    with pytest.raises(InputError, match=r"training\.average\.decay: input should be (greater|less) than"):
        load(tmp_path, f"training.average.decay={value}")


class Steps:
    """The network's weights in the training, after every step."""

    def __init__(self):
        self.weights = []

    @hookimpl
    def musicemo_batch_finished(self, run):
        self.weights.append({name: p.detach().clone() for name, p in run.network.named_parameters()})


@pytest.fixture(scope="module")
def _whole(tmp_path_factory):
    return tmp_path_factory.mktemp("whole")


@pytest.fixture
def whole(_whole):
    """Return the folder of a run with an average that was not interrupted."""
    if not (_whole / "runs").exists():
        train(_whole, *SETTINGS)
    return _whole


@pytest.mark.slow
def test_a_run_trains_as_without_and_evaluates_and_stores_the_average(tmp_path):
    averaged, plain = Steps(), Steps()
    recorder = train(tmp_path, *SETTINGS, plugins=[averaged])
    directory = recorder.run.directory
    without = [text.replace(", average = { decay = 0.6 }", "") for text in SETTINGS]
    assert "average" not in load(tmp_path, *without).resolved()["training"]
    train(tmp_path, *without, plugins=[plain], runs="plain")
    assert len(averaged.weights) == len(plain.weights) > 8
    for one, other in zip(averaged.weights, plain.weights, strict=True):
        assert all(torch.equal(one[name], other[name]) for name in other)

    prepared = assemble(tmp_path, *SETTINGS)
    expected = {name: p.detach().double() for name, p in prepared.network.named_parameters()}
    for step, weights in enumerate(averaged.weights, start=1):
        rate = decay(step, 0.6)
        expected = {name: rate * mean + (1 - rate) * weights[name] for name, mean in expected.items()}
    state = load_checkpoint(directory / "checkpoints" / "last.pt")
    for name, mean in expected.items():
        torch.testing.assert_close(state["network"][name].double(), mean, rtol=1e-4, atol=1e-5)
        assert torch.equal(recorder.weights[-1][name], state["network"][name])
        assert torch.equal(state["average"][name.replace(".", "/")], averaged.weights[-1][name])
    assert any(not torch.equal(state["network"][name], averaged.weights[-1][name]) for name in expected)
    prepared.network.load(state["network"], "last.pt")
    scores = Scorer(prepared).validate()
    assert scores["val/loss"] == pytest.approx(recorder.run.history[-1]["val/loss"], rel=1e-5)


class Interrupt:
    @hookimpl
    def musicemo_epoch_finished(self, record):
        if record["epoch"] == 2:
            raise KeyboardInterrupt


def test_a_resumed_run_with_an_average_is_the_whole_one_to_the_bit(whole, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run_all(tmp_path, *SETTINGS, plugins=[Interrupt()])
    recorder = train(tmp_path, *SETTINGS, resume=True)
    assert recorder.calls[1] == ("epoch_started", 3)
    resumed, expected = only_run(tmp_path), only_run(whole)
    assert results_of(resumed)["resumed_after_epoch"] == 2
    for name in ("history.jsonl", "predictions.csv"):
        assert (resumed / name).read_bytes() == (expected / name).read_bytes(), name
    for name in ("last.pt", "best.pt"):
        ours, theirs = (load_checkpoint(path / "checkpoints" / name) for path in (resumed, expected))
        for part in ("network", "average", "weighting"):
            assert all(torch.equal(ours[part][key], value) for key, value in theirs[part].items()), (name, part)
