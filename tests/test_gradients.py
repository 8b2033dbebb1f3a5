import pytest
import torch
from torch import nn

from musicemo.contracts import Step
from musicemo.contracts.gradients import TaskGradients, WeightTrace


@pytest.fixture
def network():
    torch.manual_seed(0)
    backbone = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 4)).double()
    unused = nn.Parameter(torch.ones(3).double())
    heads = {task: nn.Linear(4, 1).double() for task in ("a", "b", "c")}
    return backbone, unused, heads


def losses_of(network, tasks=("a", "b", "c")):
    backbone, _, heads = network
    x = torch.randn(6, 5, generator=torch.Generator().manual_seed(1)).double()
    embedding = backbone(x)
    return embedding, {task: heads[task](embedding).square().mean() for task in tasks}


def plain(network, task):
    """Return the gradients of one task by an ordinary backward pass, on the backbone and on its head."""
    backbone, _, heads = network
    _, losses = losses_of(network)
    shared = torch.autograd.grad(losses[task], list(backbone.parameters()), retain_graph=True)
    own = torch.autograd.grad(losses[task], list(heads[task].parameters()))
    return torch.cat([gradient.flatten() for gradient in shared]), own


@pytest.mark.slow
@pytest.mark.parametrize("factor", [1.0, 256.0])
def test_rows_and_heads_are_those_of_backward_passes_one_by_one(network, factor):
    backbone, unused, heads = network
    embedding, losses = losses_of(network)
    parameters = {task: list(head.parameters()) for task, head in heads.items()}
    shared = [unused, *backbone.parameters()]
    found = Step(embedding, shared, parameters, lambda x: x * factor).gradients(losses)
    assert all(one is other for one, other in zip(found.parameters, backbone.parameters(), strict=True))
    for row, task in zip(found.rows, heads, strict=True):
        expected, head = plain(network, task)
        torch.testing.assert_close(row, expected)
        for parameter, gradient in zip(parameters[task], head, strict=True):
            torch.testing.assert_close(parameter.grad, factor * gradient)
    found.accumulate(found.rows.sum(dim=0))
    found.accumulate(found.rows[0])
    total = torch.cat([parameter.grad.flatten() for parameter in backbone.parameters()])
    torch.testing.assert_close(total, factor * (found.rows.sum(dim=0) + found.rows[0]))
    assert unused.grad is None


def test_without_heads_nothing_is_touched_and_the_graph_stays(network):
    backbone, _, heads = network
    embedding, losses = losses_of(network)
    found = TaskGradients(losses, embedding, list(backbone.parameters()), None, lambda x: x)
    torch.testing.assert_close(found.rows[1], plain(network, "b")[0])
    assert all(p.grad is None for module in (backbone, *heads.values()) for p in module.parameters())
    sum(losses.values()).backward()
    assert all(p.grad is not None for p in backbone.parameters())


def test_a_task_that_reaches_a_part_alone_has_zeros_elsewhere():
    a, b = (nn.Parameter(torch.ones(2)) for _ in range(2))
    embedding = torch.stack([a * 1.0, b * 1.0])
    losses = {"first": embedding[0].sum(), "none": torch.tensor(1.0, requires_grad=True) * 1}
    found = TaskGradients(losses, embedding, [a, b], {"first": [], "none": []}, lambda x: x)
    assert found.rows.tolist() == [[1, 1, 0, 0], [0, 0, 0, 0]]


def test_of_a_frozen_backbone_there_are_no_columns(network):
    backbone, _, heads = network
    backbone.requires_grad_(False)
    embedding, losses = losses_of(network)
    found = TaskGradients(
        losses, embedding, [], {t: list(h.parameters()) for t, h in heads.items()}, lambda x: x
    )
    assert found.rows.shape == (3, 0)
    assert all(p.grad is not None for head in heads.values() for p in head.parameters())


def test_the_trace_is_a_mean_over_the_steps_that_had_a_label():
    trace = WeightTrace(["a", "b", "c"])
    assert trace.means() == {}
    trace.add(["a", "b", "c"], torch.tensor([1.0, 2.0, 3.0]))
    trace.add(["c", "a"], torch.tensor([5.0, 2.0]))
    assert trace.means() == {"weight/a": 1.5, "weight/b": 2.0, "weight/c": 4.0}
    trace.clear()
    trace.add(["b"], torch.tensor([7.0]))
    assert trace.means() == {"weight/b": 7.0}
