import pytest
import torch
from musicemo_builtin.weightings.db_mtl import DBMTL
from weighting_steps import TASKS, follow, gradients

from musicemo.errors import InputError


def expected(steps, beta=0.9, sigma=0.5):
    """The paper's formulas, a step at a time; every loss is 1 where `follow` takes its gradient."""
    average = torch.zeros_like(steps[0])
    for number, rows in enumerate(steps, start=1):
        kept = beta / number**sigma
        average = kept * average + (1 - kept) * rows
        norms = average.norm(dim=1, keepdim=True)
        yield norms.max() * (average / norms).sum(dim=0)


@pytest.mark.parametrize("parameters", [{}, {"beta": 0.3, "beta_sigma": 1.0}])
def test_formula(parameters):
    weighting, steps = DBMTL(tasks=TASKS, **parameters).double(), gradients()
    values = [parameters.get("beta", 0.9), parameters.get("beta_sigma", 0.5)]
    for rows, direction in zip(steps, expected(steps, *values), strict=True):
        torch.testing.assert_close(follow(weighting, rows), direction)


def test_without_an_average_every_task_counts_by_its_direction_alone():
    rows = gradients()[0]
    direction = follow(DBMTL(tasks=TASKS, beta=0.0).double(), rows)
    unit = torch.nn.functional.normalize(rows, dim=1).sum(dim=0)
    torch.testing.assert_close(direction / direction.norm(), unit / unit.norm())


def test_the_head_follows_the_logarithm():
    head = torch.nn.Parameter(torch.tensor(2.0))
    shared = torch.nn.Parameter(torch.ones(1, 2))
    embedding = shared * 1.0
    from musicemo.contracts import Step

    loss = head**2 * embedding.sum()
    DBMTL(tasks=["valence"]).backward(
        {"valence": loss}, Step(embedding, [shared], {"valence": [head]}, lambda x: x)
    )
    torch.testing.assert_close(head.grad, torch.tensor(2 / 2.0))


def test_the_average_of_a_task_without_a_label_stays():
    weighting, rows = DBMTL(tasks=TASKS).double(), gradients()
    follow(weighting, rows[0])
    before = weighting._averages.clone()
    follow(weighting, rows[1, :2], TASKS[:2])
    assert torch.equal(weighting._averages[2], before[2])
    assert weighting.steps.tolist() == [2, 2, 1]


def test_a_negative_loss_is_an_error_that_names_its_task():
    weighting = DBMTL(tasks=TASKS[:1])
    with pytest.raises(InputError, match="'valence' is -1: negative"):
        weighting.backward({"valence": torch.tensor(-1.0)}, None)
