"""Sharing architectures in networks, steps and runs."""

import dataclasses

import fakes as fakes_module
import numpy as np
import pytest
import torch
from fakes import MeanModel
from harness import assemble, only_run, results_of, run_all, train
from musicemo_builtin.sharings.mmoe import MMoE
from musicemo_builtin.weightings.gradnorm import GradNorm
from torch import nn

from musicemo.components import registry
from musicemo.components.spec import default_component
from musicemo.contracts import GradientWeighting, Sharing, Step
from musicemo.data import HeadSettings, Task
from musicemo.errors import InputError
from musicemo.hookspecs import hookimpl
from musicemo.prediction import TrainedRun, export_onnx
from musicemo.training import Network, load_checkpoint
from musicemo.training.conflict import GradientConflict

TYPES = sorted(claim.name for claim in registry.claims("sharing") if claim.distribution == "musicemo")
VALENCE, POP = (Task(name, name, "regression", range=(0.0, 1.0)) for name in ("valence", "pop"))
GENRE = Task("genre", "genre", "classification", classes=("a", "b", "c"))
AROUSAL = Task("arousal", "arousal", "series", range=(0.0, 1.0))


class Steps(MeanModel):
    """An embedding per step too, of another size."""

    def __init__(self):
        super().__init__(input_size=4, hidden=6)
        self.sequence_size = 5
        self.step = nn.Linear(4, 5)

    def sequence(self, x, lengths):
        return self.step(x)


def build(kind, tasks, seed=0, **parameters):
    torch.manual_seed(seed)
    component = dataclasses.replace(default_component("sharing", kind), parameters=parameters) if kind else None

    def sharing(names, size):
        return component.build(tasks=names, embedding_size=size)

    heads = {task.name: HeadSettings(hidden=[3], dropout=0.0) for task in tasks}
    return Network(Steps(), tasks, heads, sharing=sharing if kind else None)


def flat(gradients, parameters):
    parts = zip(gradients, parameters, strict=True)
    return torch.cat([torch.zeros(p.numel()) if g is None else g.flatten() for g, p in parts])


X, LENGTHS = torch.randn(5, 7, 4, generator=torch.Generator().manual_seed(0)), torch.full((5,), 7)


def forward(network):
    embedding, predictions = network(X, LENGTHS)
    return embedding, {name: (one - 0.3).square().sum() for name, one in predictions.items()}


def test_hard_sharing_is_the_network_without_an_architecture():
    plain, hard = (build(kind, [VALENCE, POP, GENRE, AROUSAL]) for kind in (None, "hard"))
    assert list(plain.state_dict()) == list(hard.state_dict())
    for first, second in zip(forward(plain)[1].values(), forward(hard)[1].values(), strict=True):
        assert torch.equal(first, second)


@pytest.mark.parametrize("kind", TYPES)
def test_gradients_are_those_of_every_shared_parameter(kind):
    """Of each task and each parameter, by autograd through the whole network; the rest is trained by its own task."""
    network = build(kind, [VALENCE, POP, GENRE, AROUSAL])
    for parameter in network.parameters():  # adapters begin with zeros
        parameter.data += 0.1
    backbone = list(network.backbone.parameters())
    sharing, heads = network.trained_by()
    everything = [*backbone, *sharing, *(one for head in heads.values() for one in head)]
    assert len(set(everything)) == len(everything) == len(list(network.parameters()))
    expected, alone = {}, {}
    for task, loss in forward(network)[1].items():
        expected[task] = flat(
            torch.autograd.grad(loss, [*backbone, *sharing], retain_graph=True, allow_unused=True),
            [*backbone, *sharing],
        )
        alone[task] = torch.autograd.grad(loss, heads[task], retain_graph=True)
    embedding, losses = forward(network)
    step = Step(embedding, backbone, heads, lambda loss: 4 * loss, sharing)
    before = GradientConflict(list(losses), 1)
    before.measure(losses, step)
    found = step.gradients(losses)
    assert len(found.parameters) == len(backbone) + len(sharing)
    for row, task in zip(found.rows, losses, strict=True):
        torch.testing.assert_close(row, expected[task], atol=1e-5, rtol=1e-4)
        for parameter, gradient in zip(heads[task], alone[task], strict=True):
            torch.testing.assert_close(parameter.grad, 4 * gradient, atol=1e-5, rtol=1e-4)
    norms = before.finish_epoch()
    for task, row in expected.items():
        assert norms[f"gradient/{task}/norm"] == pytest.approx(float(row.norm()), rel=1e-4)


def mixture():
    """Return experts f[i](e) = w[i] e of a positive number e, mixed equally, and two tasks with opposite losses."""
    module = MMoE(tasks=["a", "b"], embedding_size=1, experts=2, hidden=[1])
    for number, expert in enumerate(module.experts):
        nn.init.constant_(expert[0].weight, number + 1.0)
        nn.init.zeros_(expert[0].bias)
    for gate in module.gates.values():
        nn.init.zeros_(gate.scores.weight)
    shared = [expert[0].weight for expert in module.experts]
    heads = {task: [module.gates[task].scores.weight] for task in "ab"}
    return module, shared, heads


class Doubled(GradientWeighting):
    """The second task counts twice."""

    def weigh(self, gradients, tasks):
        return torch.tensor([1.0, 2.0])


def test_experts_get_the_gradient_of_a_weighting_and_gates_that_of_their_task():
    """h = e (w[0] + w[1]) / 2 for both tasks, with losses 3 h and -h: dh/dw[i] = e / 2, dh/de = 3 / 2.

    The gate is softmax(v e): dh/dv[i] = e g[i] (f[i](e) - h).
    """
    module, shared, heads = mixture()
    v = nn.Parameter(torch.tensor([[2.0]]))
    represented = module(v)
    losses = {"a": 3 * represented["a"].sum(), "b": -represented["b"].sum()}
    step = Step(v, [v], heads, lambda loss: loss, shared)
    rows = Step(v, [v], {"a": [], "b": []}, lambda loss: loss, shared).gradients(losses).rows
    torch.testing.assert_close(rows, torch.tensor([[4.5, 3.0, 3.0], [-1.5, -1.0, -1.0]]))
    represented = module(v)
    losses = {"a": 3 * represented["a"].sum(), "b": -represented["b"].sum()}
    Doubled(tasks=["a", "b"]).backward(losses, step)
    for parameter, gradient in zip((v, *shared), (1.5, 1.0, 1.0), strict=True):
        assert float(parameter.grad) == pytest.approx(gradient)
    gates = [2 * 0.5 * (f - 3.0) for f in (2.0, 4.0)]
    torch.testing.assert_close(heads["a"][0].grad, 3 * torch.tensor([[gates[0]], [gates[1]]]))
    torch.testing.assert_close(heads["b"][0].grad, -torch.tensor([[gates[0]], [gates[1]]]))


def test_gradnorm_on_the_embedding_trains_the_experts():
    module, shared, heads = mixture()
    e = torch.tensor([[2.0]], requires_grad=True)
    v = e * 1.0
    represented = module(v)
    losses = {"a": 3 * represented["a"].sum(), "b": 2 * represented["b"].sum()}
    GradNorm(tasks=["a", "b"]).backward(losses, Step(v, [e], heads, lambda loss: loss, shared))
    assert float(e.grad) == pytest.approx(7.5)
    assert [float(one.grad) for one in shared] == pytest.approx([5.0, 5.0])


class Interrupt:
    """Ends the process after the first epoch."""

    @hookimpl
    def musicemo_epoch_finished(self, record):
        if record["epoch"] == 1:
            raise KeyboardInterrupt


SMALL = ("training.epochs=2", "dataset.tracks=20", "split.method='random'")
PARAMETERS = {
    "hard": "",
    "groups": "hidden=[3], ",
    "adapters": "bottleneck=2, ",
    "mmoe": "experts=2, hidden=[3], ",
    "cgc": "hidden=[3], ",
    "ple": "hidden=[3], ",
    "cross-stitch": "hidden=[3, 3], ",
    "mtan": "hidden=[3, 3], ",
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", TYPES)
def test_runs_are_resumed_transferred_exported_and_predict(kind, fakes_beside, tmp_path, one_thread):
    settings = [*SMALL, f"sharing={{ {PARAMETERS[kind]}type='{kind}' }}", "weighting.type='db-mtl'"]
    with pytest.raises(KeyboardInterrupt):
        run_all(tmp_path, *settings, plugins=[Interrupt()])
    resumed = only_run(tmp_path)
    run_all(tmp_path, *settings, resume=True)
    whole = train(tmp_path, *settings, runs="whole")
    assert (resumed / "history.jsonl").read_bytes() == (whole.run.directory / "history.jsonl").read_bytes()
    state = load_checkpoint(resumed / "checkpoints" / "last.pt")["network"]
    assert all(torch.equal(value, state[name]) for name, value in whole.weights[-1].items())
    assert any(name.startswith("sharing.") for name in state) == (kind != "hard")
    run = TrainedRun.load(resumed)
    clips = [np.random.default_rng(n).normal(size=(n, fakes_module.ROWS)).astype(np.float32) for n in (4, 9)]
    assert np.isfinite(run.predict(clips)["valence"]).all()
    pytest.importorskip("onnxruntime")
    assert export_onnx(run, tmp_path / "model.onnx", clips).difference < 1e-5
    text = fakes_module.EXPERIMENT.replace("tasks.genre", "tasks.energy")
    text += f'\n[transfer]\nfrom = "{resumed}"\n'
    later = train(tmp_path, *settings, "training.epochs=1", "name='later'", text=text)
    loaded = results_of(later.run.directory)["transfer"]["loaded"]
    assert [name for name in state if "genre" not in name.split(".") and name not in loaded] == [
        name
        for name in state
        if "shared_gate" in name
        and kind == "ple"
        and name not in loaded  # its size is that of the number of tasks
    ]
    assert not any("energy" in name.split(".") for name in loaded)


def test_an_architecture_is_for_networks(fakes_beside, tmp_path):
    with pytest.raises(
        InputError, match=r"sharing.type='mmoe': sharing: 'mmoe' stands between .*'ridge' is .*Remove \[sha"
    ):
        assemble(tmp_path, "model={ type='ridge' }", "sharing.type='mmoe'")


class OneTask(Sharing):
    def forward(self, embedding):
        return {self.tasks[0]: embedding}


class Compared(Sharing):
    def forward(self, embedding):
        return dict.fromkeys(self.tasks, embedding - embedding.mean(0))


class Failing(Sharing):
    def forward(self, embedding):
        raise RuntimeError("too late")


class Sized(Sharing):
    def __init__(self, *, tasks, embedding_size):
        super().__init__(tasks=tasks, embedding_size=embedding_size)
        self.size = 2.5


@pytest.mark.parametrize(
    ("sharing", "problem"),
    [
        (OneTask, r"sharing: returns \['\w+'\]; it must return a representation of each of \['\w+', 'genre'\]"),
        (Compared, "sharing: the representation of 'valence' depends on other tracks of the batch"),
        (Failing, r"sharing: fails on an embedding of shape \[\d, 8\]: .*too late"),
        (
            Sized,
            r"--set sharing.type='odd': sharing: sharing 'odd': its size is 2.5, which must be an integer > 0",
        ),
    ],
)
def test_what_breaks_the_contract_is_refused_before_the_first_epoch(sharing, problem, fakes, tmp_path):
    fakes("sharing", "odd", sharing)
    with pytest.raises(InputError, match=problem):
        assemble(tmp_path, "sharing.type='odd'")
