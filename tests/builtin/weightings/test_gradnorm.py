import pytest
import torch
from musicemo_builtin.weightings.gradnorm import GradNorm
from weighting_steps import TASKS, follow, gradients

from musicemo.contracts import Step
from musicemo.errors import InputError

OF = pytest.mark.parametrize("of", ["embedding", "shared"])


@OF
def test_at_first_it_is_the_sum(of):
    rows = gradients()[0]
    weighting = GradNorm(tasks=TASKS, of=of).double()
    torch.testing.assert_close(follow(weighting, rows), rows.sum(dim=0))
    assert weighting.scalars() == {f"weight/{task}": 1.0 for task in TASKS}


@OF
def test_the_weights_slope_is_that_of_the_papers_loss(of):
    """Equal losses relative to the first: the target is the mean norm, a constant."""
    rows = gradients()[0]
    weighting = GradNorm(tasks=TASKS, of=of).double()
    with torch.no_grad():
        weighting.weights.copy_(torch.tensor([0.5, 1.7, 0.8]))
    weights = weighting.weights.detach().clone().requires_grad_()
    norms = weights * rows.norm(dim=1)
    (norms - norms.mean().detach()).abs().sum().backward()
    follow(weighting, rows)
    torch.testing.assert_close(weighting.weights.grad, weights.grad)


@pytest.mark.slow
@OF
def test_trained_it_makes_gradients_equally_long(of):
    rows = gradients()[0] * torch.tensor([[0.3], [1.0], [4.0]])
    weighting = GradNorm(tasks=TASKS, of=of).double()
    optimizer = torch.optim.Adam(weighting.parameters(), lr=0.02)
    for _ in range(250):
        optimizer.zero_grad()
        follow(weighting, rows)
        optimizer.step()
        weighting.step_finished({})
        assert weighting.weights.sum().item() == pytest.approx(3)
    norms = weighting.weights.detach() * rows.norm(dim=1)
    torch.testing.assert_close(norms, norms.mean().expand(3), rtol=0.05, atol=0)


def test_a_task_that_learns_slowly_is_given_a_longer_gradient():
    weighting = GradNorm(tasks=TASKS[:2], alpha=1.0)
    shared = torch.nn.Parameter(torch.ones(1, 2))

    def step(*values):
        embedding = shared * 1.0
        pairs = zip(TASKS[:2], values, strict=True)
        losses = {task: value + embedding[0, index] for index, (task, value) in enumerate(pairs)}
        weighting.backward(losses, Step(embedding, [shared], {task: [] for task in losses}, lambda loss: loss))

    step(1.0, 1.0)
    assert weighting.weights.grad.abs().max() == 0
    step(1.0, 0.0)  # the second loss has halved
    assert weighting.weights.grad[0] < 0 < weighting.weights.grad[1]


def test_heads_are_weighted_too():
    heads = {task: [torch.nn.Parameter(torch.tensor(2.0))] for task in TASKS[:2]}
    shared = torch.nn.Parameter(torch.ones(1, 2))
    embedding = shared * 1.0
    weighting = GradNorm(tasks=TASKS[:2])
    with torch.no_grad():
        weighting.weights.copy_(torch.tensor([0.5, 1.5]))
    losses = {task: head * embedding.sum() for task, (head,) in heads.items()}
    weighting.backward(losses, Step(embedding, [shared], heads, lambda loss: loss))
    assert [head.grad.item() for (head,) in heads.values()] == [1.0, 3.0]


def test_a_negative_loss_is_an_error_that_names_its_task():
    with pytest.raises(InputError, match="'energy' is -1: negative"):
        GradNorm(tasks=TASKS[:2]).backward(dict(zip(TASKS, torch.tensor([1.0, -1.0]), strict=False)), None)
