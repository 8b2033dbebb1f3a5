"""Averages of the weights: their values, their part in a run, and resumption."""

import copy
import json
import math

import pytest
import torch
from complaints import warns
from harness import assemble, load, only_run, results_of, run_all, train
from torch import nn

from musicemo.errors import InputError
from musicemo.hookspecs import hookimpl
from musicemo.training import load_checkpoint
from musicemo.training.averaging import ExponentialAverage, StochasticAverage, recompute_statistics
from musicemo.training.scoring import Scorer


class Normalized(nn.Module):
    """A dense layer on the mean over time, with batch normalization and dropout."""

    def __init__(self, *, input_size):
        super().__init__()
        self.embedding_size = 4
        self.layers = nn.Sequential(
            nn.Dropout(0.2), nn.Linear(input_size, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 4)
        )

    def forward(self, x, lengths):
        return self.layers(x.sum(dim=1) / lengths[:, None])


@pytest.fixture(autouse=True)
def _fakes(fakes):
    fakes("model", "normalized", Normalized)


#: Every epoch counts: momentum, dropout, a best epoch that is not the last one.
SETTINGS = (
    "training={ epochs = 4, batch_size = 16, device = 'cpu', average = { decay = 0.6 } }",
    "training.optimizer={ type = 'adam', lr = 0.1 }",
    "training.early_stopping={ patience = false }",
    "weighting.type='learned'",
)

#: The last three of four epochs are averaged. The network has batch normalization and dropout.
SWA = (
    SETTINGS[0].replace("{ decay = 0.6 }", "{ type = 'swa', start = 2 }"),
    "training.optimizer={ type = 'adam', lr = 0.1, rates = { backbone = 0.5, '*.1.weight' = 2.0 } }",
    *SETTINGS[2:],
    "model={ type = 'normalized' }",
)


def decay(step, largest):
    return min(largest, (1 + step) / (10 + step))


def test_the_average_in_closed_form():
    net = nn.Linear(1, 1, bias=False)
    nn.init.constant_(net.weight, 1.0)
    average = ExponentialAverage(net, 0.25)
    expected = 1.0
    for step, value in enumerate([2.0, -1.0, 3.0, 0.5], start=1):
        nn.init.constant_(net.weight, value)
        average.step_finished(net)
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
    ours = ExponentialAverage(net, 0.5)

    def mean_of(mean, new, step):
        return torch.lerp(new, mean, decay(int(step), 0.5)) if new.is_floating_point() else new

    theirs = torch.optim.swa_utils.AveragedModel(net, avg_fn=mean_of, use_buffers=True)
    theirs.n_averaged.fill_(1)  # the initial weights count
    optimizer = torch.optim.SGD(net.parameters(), lr=0.5)
    for _ in range(12):
        optimizer.zero_grad()
        (net(torch.randn(8, 3)) ** 2).mean().backward()
        optimizer.step()
        ours.step_finished(net)
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
    average = ExponentialAverage(net, 0.9)
    for _ in range(3):
        average.step_finished(net)
    with average.exchanged(net):
        assert net.mask.tolist() == [0.0, -math.inf]
    assert net.weight.tolist() == [1.0, 1.0]
    assert "weight" not in average.state_dict()


@pytest.mark.parametrize("value", [0, 1, 1.5])
def test_a_decay_is_between_0_and_1(value, tmp_path):
    with pytest.raises(InputError, match=r"training\.average\.decay: input should be (greater|less) than"):
        load(tmp_path, f"training.average.decay={value}")


class Interrupt:
    """Interrupts a run after an epoch."""

    def __init__(self, epoch):
        self._epoch = epoch

    @hookimpl
    def musicemo_epoch_finished(self, record):
        if record["epoch"] == self._epoch:
            raise KeyboardInterrupt


class Steps:
    """The network's weights in the training, after every step."""

    def __init__(self):
        self.weights = []

    @hookimpl
    def musicemo_batch_finished(self, run):
        self.weights.append({name: p.detach().clone() for name, p in run.network.named_parameters()})


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


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "epoch"), [(SETTINGS, 2), (SWA, 1), (SWA, 3)], ids=["ema", "before swa", "swa"]
)
def test_a_resumed_run_with_an_average_is_the_whole_one_to_the_bit(settings, epoch, tmp_path):
    whole = train(tmp_path, *settings, runs="whole").run.directory
    with pytest.raises(KeyboardInterrupt):
        run_all(tmp_path, *settings, plugins=[Interrupt(epoch)])
    recorder = train(tmp_path, *settings, resume=True)
    assert recorder.calls[1] == ("epoch_started", epoch + 1)
    resumed = only_run(tmp_path)
    assert results_of(resumed)["resumed_after_epoch"] == epoch
    for name in ("history.jsonl", "predictions.csv"):
        assert (resumed / name).read_bytes() == (whole / name).read_bytes(), name
    for name in ("last.pt", "best.pt"):
        ours, theirs = (load_checkpoint(path / "checkpoints" / name) for path in (resumed, whole))
        for part in ("network", "average", "weighting"):
            assert all(torch.equal(ours[part][key], value) for key, value in theirs[part].items()), (name, part)


class Epochs:
    """The weights of the training after the last step of every epoch, and those that are evaluated."""

    def __init__(self):
        self.trained, self.evaluated = [], []

    @hookimpl
    def musicemo_batch_finished(self, run):
        self._last = copy.deepcopy(run.network.state_dict())

    @hookimpl
    def musicemo_epoch_finished(self, run):
        self.trained.append(self._last)
        self.evaluated.append(copy.deepcopy(run.network.state_dict()))


@pytest.mark.slow
def test_stochastic_weight_averaging_of_a_run(tmp_path):
    """From its start on, a run evaluates the mean of the epochs' weights; its training is that without an average."""
    averaged, plain = Epochs(), Epochs()
    directory = train(tmp_path, *SWA, plugins=[averaged]).run.directory
    without = [text.replace(", average = { type = 'swa', start = 2 }", "") for text in SWA]
    train(tmp_path, *without, plugins=[plain], runs="plain")
    for ours, theirs in zip(averaged.trained, plain.trained, strict=True):
        assert all(torch.equal(ours[name], value) for name, value in theirs.items())
    first = averaged.evaluated[0]
    assert all(torch.equal(first[name], value) for name, value in plain.evaluated[0].items())

    prepared = assemble(tmp_path, *SWA)
    names = [name for name, _ in prepared.network.named_parameters()]
    for last in (2, 3, 4):
        for name in names:
            mean = torch.stack([weights[name] for weights in plain.trained[1:last]]).mean(dim=0)
            torch.testing.assert_close(averaged.evaluated[last - 1][name], mean)
    prepared.network.load(averaged.evaluated[-1], "the last epoch")
    layers = prepared.network.eval().backbone.layers
    inputs = []
    layers[2].register_forward_pre_hook(lambda module, arguments: inputs.append(arguments[0]))
    for batch in prepared.batches["train"].epoch():
        prepared.network(batch.x, batch.lengths)
    torch.testing.assert_close(layers[2].running_mean, torch.stack([x.mean(dim=0) for x in inputs]).mean(dim=0))
    torch.testing.assert_close(layers[2].running_var, torch.stack([x.var(dim=0) for x in inputs]).mean(dim=0))
    scores = Scorer(prepared).validate()
    history = [json.loads(line) for line in (directory / "history.jsonl").read_text().splitlines()]
    assert scores["val/loss"] == pytest.approx(history[-1]["val/loss"], rel=1e-5)


def test_statistics_are_recomputed_as_by_torch():
    torch.manual_seed(1)
    shared = nn.BatchNorm1d(3, affine=False)  # of two calls in each batch
    net = nn.Sequential(shared, nn.Linear(3, 3), shared, nn.Linear(3, 4), nn.BatchNorm1d(4, momentum=0.3))
    net(torch.randn(6, 3))
    theirs = copy.deepcopy(net)
    batches = [torch.randn(size, 3) * size for size in (6, 6, 4)]
    before = [int(layer.num_batches_tracked) for layer in (net[0], net[4])]
    recompute_statistics(net, batches, net)
    assert [int(layer.num_batches_tracked) for layer in (net[0], net[4])] == before == [2, 1]
    torch.optim.swa_utils.update_bn(batches, theirs)
    for layer, expected in ((net[0], theirs[0]), (net[4], theirs[4])):
        torch.testing.assert_close(layer.running_mean, expected.running_mean)
        torch.testing.assert_close(layer.running_var, expected.running_var)
    assert net[4].momentum == 0.3
    assert not any(module.training for module in net.modules())


def test_statistics_of_frozen_layers_stay(tmp_path):
    prepared = assemble(tmp_path, *SWA)
    layer = prepared.network.backbone.layers[2]
    prepared.network.freeze(["backbone"])
    before = copy.deepcopy(layer.state_dict())

    def call(batch):
        raise AssertionError("there is nothing to compute")

    recompute_statistics(prepared.network, prepared.batches["train"].epoch(), call)
    assert all(torch.equal(before[name], value) for name, value in layer.state_dict().items())


def test_the_mean_of_the_epochs_from_a_start_on():
    net = nn.Linear(1, 1, bias=False)
    average = StochasticAverage(net, 3)
    for value, expected in [(5.0, 5.0), (-7.0, -7.0), (2.0, 2.0), (6.0, 4.0), (1.0, 3.0)]:
        nn.init.constant_(net.weight, 100.0)
        average.step_finished(net)
        nn.init.constant_(net.weight, value)
        average.epoch_finished(net)
        with average.exchanged(net):
            assert net.weight.item() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("average", "message"),
    [
        ("{ type = 'swa', start = 4 }", r"training\.average: start = 4 must be at most training\.epochs, 3"),
        ("{ type = 'swa' }", r"training\.average\.start: is required"),
        ("{ start = 3 }", r"training\.average\.start: unknown key \(allowed: decay, type\)"),
        (
            "{ type = 'swe' }",
            r"training\.average\.type: must be one of ema, swa, not 'swe'; did you mean 'swa'",
        ),
    ],
)
def test_a_wrong_average_is_reported(average, message, tmp_path):
    with pytest.raises(InputError, match=message):
        load(tmp_path, f"training.average={average}")


def test_an_average_that_never_starts_is_reported(tmp_path):
    settings = ["training={ epochs = 9, device = 'cpu', optimizer = { type = 'sgd', lr = 1e-9 } }"]
    settings += ["training.early_stopping={ patience = 1, min_delta = 1.0 }"]
    with warns("no weights were averaged: early stopping ended the training after epoch 2, before the average"):
        train(tmp_path, *settings, "training.average={ type = 'swa', start = 5 }")
