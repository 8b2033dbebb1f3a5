import math
import subprocess
import sys

import pytest
import torch
from torch import nn

from musicemo.errors import InputError
from musicemo.settings import validate
from musicemo.training import TrainingSettings, choose_device
from musicemo.training.optimization import Schedule, make_optimizer

ADAM = {"type": "adam", "lr": 0.02, "weight_decay": 0.1, "betas": [0.8, 0.99]}
ADAMW = {"type": "adamw", "lr": 0.02, "weight_decay": 0.3}
SGD = {"type": "sgd", "lr": 0.02, "momentum": 0.5, "nesterov": True, "weight_decay": 0.2}


def settings(**tables):
    """Read a table [training] as TOML would be, with arrays where there are tuples."""

    return validate(TrainingSettings, tables)


def network():
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 1))


def step(net, optimizer, times=5):
    x = torch.linspace(-1, 1, 24).view(6, 4)
    for _ in range(times):
        optimizer.zero_grad()
        ((net(x) - 0.3) ** 2).mean().backward()
        optimizer.step()
    return torch.cat([p.detach().flatten() for p in net.parameters()])


@pytest.mark.parametrize(
    ("table", "reference"),
    [
        (ADAM, lambda p: torch.optim.Adam(p, lr=0.02, weight_decay=0.1, betas=(0.8, 0.99), fused=True)),
        (ADAMW, lambda p: torch.optim.AdamW(p, lr=0.02, weight_decay=0.3, fused=True)),
        (SGD, lambda p: torch.optim.SGD(p, lr=0.02, momentum=0.5, nesterov=True, weight_decay=0.2, fused=True)),
        ({"type": "adam"}, lambda p: torch.optim.Adam(p, lr=1e-3, fused=True)),
        ({"type": "adamw"}, lambda p: torch.optim.AdamW(p, lr=1e-3, weight_decay=0.01, fused=True)),
        ({"type": "sgd"}, lambda p: torch.optim.SGD(p, lr=1e-3, momentum=0.9, fused=True)),
    ],
)
def test_an_optimizer_steps_as_torchs_own(table, reference):
    ours, theirs = network(), network()
    optimizer = make_optimizer(settings(optimizer=table).optimizer, ours, nn.Module())
    assert torch.equal(step(ours, optimizer), step(theirs, reference(theirs.parameters())))


@pytest.mark.parametrize("table", [ADAM, ADAMW, SGD])
def test_an_optimizer_is_torchs_own_to_hooks_and_states(table):
    net = network()
    optimizer = make_optimizer(settings(optimizer=table).optimizer, net, nn.Module())
    theirs = getattr(torch.optim, {"adam": "Adam", "adamw": "AdamW", "sgd": "SGD"}[table["type"]])
    assert isinstance(optimizer, theirs)
    assert type(optimizer).__name__ == theirs.__name__
    steps = []
    optimizer.register_step_pre_hook(lambda *_: steps.append("before"))
    optimizer.register_step_post_hook(lambda *_: steps.append("after"))
    step(net, optimizer, times=2)
    assert steps == ["before", "after"] * 2
    other = theirs(net.parameters(), lr=1.0)
    other.load_state_dict(optimizer.state_dict())
    assert other.param_groups[0]["lr"] == optimizer.param_groups[0]["lr"]
    assert all(
        torch.equal(value, other.state[parameter][name])
        for parameter, state in optimizer.state.items()
        for name, value in state.items()
        if isinstance(value, torch.Tensor)
    )


@pytest.mark.slow
def test_a_step_does_not_import_the_compiler():
    code = """if True:
        import sys, torch
        from torch import nn
        from musicemo.components import registry
        from musicemo.settings import validate
        from musicemo.training import TrainingSettings
        from musicemo.training.optimization import Schedule, make_optimizer
        before = set(sys.modules)
        settings = validate(TrainingSettings, {"schedule": {"type": "cosine"}})
        net = nn.Linear(2, 1)
        optimizer = make_optimizer(settings.optimizer, net, nn.Module())
        schedule = Schedule(settings.schedule, optimizer, 3, "min")
        optimizer.zero_grad()
        net(torch.ones(1, 2)).sum().backward()
        optimizer.step()
        schedule.step(0.0)
        optimizer.load_state_dict(optimizer.state_dict())
        imported = set(sys.modules) - before
        assert not imported & {"torch._dynamo", "sympy"}, imported
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("table", [ADAM, ADAMW, SGD])
def test_a_weightings_parameters_are_trained_without_decay(table):
    weighting = nn.ParameterList([nn.Parameter(torch.ones(2))])
    optimizer = make_optimizer(settings(optimizer=table).optimizer, network(), weighting)
    own = [group for group in optimizer.param_groups if any(p is weighting[0] for p in group["params"])]
    assert [group["weight_decay"] for group in own] == [0.0]
    assert own[0]["lr"] == 0.02
    assert optimizer.param_groups[0]["weight_decay"] == table["weight_decay"]


class Mixed(nn.Module):
    """Parameters of every kind; the names of the weights begin with `weight`, or are torch's names of weights."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(4, 4, 3)
        self.batch = nn.BatchNorm1d(4)
        self.layer = nn.LayerNorm([4, 5])  # of two dimensions
        self.group = nn.GroupNorm(2, 4)
        self.instance = nn.InstanceNorm1d(4, affine=True)
        self.rms = nn.RMSNorm([4, 5])
        self.lstm = nn.LSTM(4, 4)
        self.attention = nn.MultiheadAttention(4, 2, add_bias_kv=True)  # with biases of three dimensions
        self.token = nn.Parameter(torch.ones(4))
        self.scalar = nn.Parameter(torch.ones(()))


WEIGHTS = {
    "conv.weight",
    "lstm.weight_ih_l0",
    "lstm.weight_hh_l0",
    "attention.in_proj_weight",
    "attention.out_proj.weight",
}


@pytest.mark.parametrize("table", [ADAM, ADAMW, SGD])
def test_decay_of_the_weights_leaves_out_biases_and_normalization(table):
    net, weighting = Mixed(), nn.ParameterList([nn.Parameter(torch.ones(2))])
    optimizer = make_optimizer(settings(optimizer=table | {"decay": "weights"}).optimizer, net, weighting)
    rates = {p: group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert {name for name, p in net.named_parameters() if rates[p] == table["weight_decay"]} == WEIGHTS
    assert {rates[p] for name, p in net.named_parameters() if name not in WEIGHTS} == {0.0}
    assert rates[weighting[0]] == 0.0
    assert {group["lr"] for group in optimizer.param_groups} == {0.02}


def test_decay_of_the_weights_shrinks_only_them():
    net = Mixed()
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    table = {"type": "sgd", "lr": 0.5, "momentum": 0.0, "weight_decay": 0.2, "decay": "weights"}
    optimizer = make_optimizer(settings(optimizer=table).optimizer, net, nn.Module())
    sum(0.0 * p.sum() for p in net.parameters()).backward()
    optimizer.step()
    for name, p in net.named_parameters():
        torch.testing.assert_close(p.detach(), before[name] * (0.9 if name in WEIGHTS else 1.0))


def test_decay_of_the_weights_of_a_network_of_which_only_biases_are_trained():
    net = network()
    for name, parameter in net.named_parameters():
        parameter.requires_grad_(name.endswith("bias"))
    before = net[0].weight.clone(), net[0].bias.clone()
    optimizer = make_optimizer(settings(optimizer=ADAMW | {"decay": "weights"}).optimizer, net, nn.Module())
    step(net, optimizer)
    assert torch.equal(net[0].weight, before[0])
    assert not torch.equal(net[0].bias, before[1])


@pytest.mark.parametrize("table", [ADAM, ADAMW, SGD])
@pytest.mark.parametrize("decay", ["all", "weights"])
def test_rates_of_parameters(table, decay):
    """The longest key that matches counts; schedules apply to every rate, and the recorded one is the optimizer's."""
    net, weighting = network(), nn.ParameterList([nn.Parameter(torch.ones(2))])
    rates = {"0": 0.5, "0.bias": 4.0, "*.weight": 0.25}
    optimizer = make_optimizer(
        settings(optimizer=table | {"decay": decay, "rates": rates}).optimizer, net, weighting
    )
    schedule = Schedule(settings(schedule={"type": "step", "every": 1}).schedule, optimizer, 3, "min")
    lr = 0.02
    for _ in range(2):
        expected = [(net[0].weight, 0.25), (net[0].bias, 4.0), (net[2].weight, 0.25), (net[2].bias, 1.0)]
        applied = {p: group["lr"] for group in optimizer.param_groups for p in group["params"]}
        assert applied == {p: pytest.approx(lr * rate) for p, rate in [*expected, (weighting[0], 1.0)]}
        first = optimizer.param_groups[0]
        assert first["lr"] / first.get("rate", 1.0) == pytest.approx(lr)
        decays = {p: group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
        biases = 0.0 if decay == "weights" else table["weight_decay"]
        assert [decays[p] for p, _ in expected] == [table["weight_decay"], biases] * 2
        optimizer.step()
        schedule.step(0.0)
        lr /= 10


def test_a_step_with_rates_is_torchs_own():
    ours, theirs = network(), network()
    table = SGD | {"rates": {"0": 0.1}}
    optimizer = make_optimizer(settings(optimizer=table).optimizer, ours, nn.Module())
    groups = [{"params": theirs[0].parameters(), "lr": 0.002}, {"params": theirs[2].parameters()}]
    reference = torch.optim.SGD(groups, lr=0.02, momentum=0.5, nesterov=True, weight_decay=0.2, fused=True)
    assert torch.equal(step(ours, optimizer), step(theirs, reference))


def test_frozen_parameters_have_no_rate():
    net = network()
    net[0].requires_grad_(False)
    table = ADAM | {"rates": {"0": 0.1, "2.weight": 0.5}}
    optimizer = make_optimizer(settings(optimizer=table).optimizer, net, nn.Module())
    groups = [(group["params"], group["lr"]) for group in optimizer.param_groups]
    assert groups == [([net[2].bias], 0.02), ([net[2].weight], 0.01)]


def test_frozen_parameters_are_not_given_to_the_optimizer():
    net = network()
    net[0].requires_grad_(False)
    optimizer = make_optimizer(settings().optimizer, net, nn.Module())
    assert [p for group in optimizer.param_groups for p in group["params"]] == [*net[2].parameters()]
    before = net[0].weight.clone()
    step(net, optimizer)
    assert torch.equal(net[0].weight, before)


def rates(table, epochs=8, values=None, mode="min"):
    """Return the learning rate of every epoch."""
    net = network()
    optimizer = make_optimizer(settings(optimizer={"type": "sgd", "lr": 2.0}).optimizer, net, nn.Module())
    schedule = Schedule(settings(schedule=table).schedule, optimizer, epochs, mode)
    found = []
    for epoch in range(epochs):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step(values[epoch] if values else 0.0)
    return found


def test_constant_rate():
    assert rates({"type": "constant"}) == [2.0] * 8


@pytest.mark.parametrize("final", [0.0, 0.1])
def test_cosine_falls_by_half_a_period_over_the_epochs(final):
    expected = [2 * (final + (1 - final) * (1 + math.cos(math.pi * e / 8)) / 2) for e in range(8)]
    assert rates({"type": "cosine", "final": final}) == pytest.approx(expected)


def test_cosine_is_torchs_own():
    parameter = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=2.0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=8, eta_min=0.2)
    expected = []
    for _ in range(8):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rates({"type": "cosine", "final": 0.1}) == pytest.approx(expected)


def test_warmup_rises_linearly_and_then_the_schedule_begins():
    found = rates({"type": "cosine", "warmup": 3})
    assert found[:4] == pytest.approx([2 * 1 / 4, 2 * 2 / 4, 2 * 3 / 4, 2.0])
    assert found[4:] == pytest.approx([1 + math.cos(math.pi * e / 5) for e in range(1, 5)])


def test_step_decay_multiplies_every_so_many_epochs():
    expected = [2.0, 2.0, 2.0, 0.5, 0.5, 0.5, 0.125, 0.125]
    assert rates({"type": "step", "every": 3, "factor": 0.25}) == pytest.approx(expected)
    found = rates({"type": "step", "every": 3, "factor": 0.25, "warmup": 1})
    assert found == pytest.approx([1.0, *expected[:7]])


def test_a_warmup_longer_than_the_training_only_rises():
    assert rates({"type": "cosine", "warmup": 20}, epochs=3) == pytest.approx([2 / 21, 4 / 21, 6 / 21])


@pytest.mark.parametrize(
    ("mode", "values"),
    [
        ("min", [5.0, 4.0, 4.0, 4.5, 4.0, 3.9, 4.0, 4.0]),
        ("max", [0.0, 1.0, 1.0, 0.5, 1.0, 1.1, 1.0, 1.0]),
    ],
)
def test_plateau_falls_after_more_than_patience_epochs_without_a_better_value(mode, values):
    # epochs 3, 4 and 5 bring nothing better than epoch 2, so the rate of epoch 6 is lower; epoch 6 is better
    found = rates({"type": "plateau", "factor": 0.5, "patience": 2}, values=values, mode=mode)
    assert found == [2.0] * 5 + [1.0] * 3


def test_plateau_counts_the_smallest_improvement_as_early_stopping_does():
    values = [1.0 - epoch * 1e-6 for epoch in range(8)]
    assert rates({"type": "plateau", "patience": 0}, values=values) == [2.0] * 8


def test_plateau_takes_a_value_that_is_not_defined_for_no_improvement():
    values = [1.0, math.nan, math.nan, 0.5, 0.4, 0.3, 0.2, 0.1]
    assert rates({"type": "plateau", "patience": 1}, values=values) == [2.0] * 3 + [1.0] * 5


@pytest.mark.parametrize(
    "table",
    [
        {"type": "cosine", "warmup": 2},
        {"type": "step", "every": 2},
        {"type": "plateau", "patience": 1},
        {"type": "constant"},
    ],
)
def test_a_schedule_continues_from_its_state(table):
    def made():
        net = network()
        optimizer = make_optimizer(settings(optimizer={"type": "sgd", "lr": 2.0}).optimizer, net, nn.Module())
        return optimizer, Schedule(settings(schedule=table).schedule, optimizer, 8, "min")

    def run(optimizer, schedule, epochs):
        found = []
        for epoch in epochs:
            found.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            schedule.step([3, 2, 2, 2, 2, 1, 2, 2][epoch])
        return found

    whole = run(*made(), range(8))
    first, halted = made()
    begun = run(first, halted, range(4))
    second, continued = made()
    second.load_state_dict(first.state_dict())
    continued.load_state_dict(halted.state_dict())
    assert begun + run(second, continued, range(4, 8)) == whole


def test_the_device_is_cuda_where_there_is_one_else_mps_else_the_cpu(monkeypatch):
    for cuda, mps, expected in [(True, True, "cuda"), (False, True, "mps"), (False, False, "cpu")]:
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=cuda: there)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda there=mps: there)
        assert choose_device("auto").type == expected


def test_a_gpu_can_be_named_by_its_number(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert choose_device("cuda:1") == torch.device("cuda", 1)
    for name in ("cuda:2", "cuda:", "cuda:x", "mps:0"):
        with pytest.raises(InputError, match=f"this machine has no '{name}' device"):
            choose_device(name)


@pytest.mark.parametrize("name", ["cuda", "gpu", "", "CPU", "cpu:1"])
def test_a_device_that_is_not_there(name, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(InputError, match=r"training\.device.*available: auto, cpu\)") as caught:
        choose_device(name)
    assert repr(name) in str(caught.value)
