import torch
import torchjd.aggregation as torchjd
from musicemo_builtin.weightings.pcgrad import PCGrad
from weighting_steps import TASKS, assert_follows, follow


def test_is_torchjds():
    assert_follows(PCGrad(tasks=TASKS), torchjd.PCGrad())


def test_two_gradients_in_closed_form():
    a, b = torch.tensor([[2.0, 1.0], [-1.0, 1.0]]).double()
    expected = a - (a @ b) / (b @ b) * b + b - (a @ b) / (a @ a) * a
    torch.testing.assert_close(follow(PCGrad(tasks=TASKS[:2]), torch.stack([a, b])), expected)


def test_of_tasks_that_agree_it_is_the_sum():
    rows = torch.tensor([[2.0, 1.0], [1.0, 1.0], [0.0, 3.0]]).double()
    torch.testing.assert_close(follow(PCGrad(tasks=TASKS), rows), rows.sum(dim=0))
