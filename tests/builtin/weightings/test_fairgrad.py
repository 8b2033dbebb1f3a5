import torch
import torchjd.aggregation as torchjd
from musicemo_builtin.weightings.fairgrad import FairGrad
from weighting_steps import TASKS, assert_follows, follow, gradients


def test_is_torchjds():
    assert_follows(FairGrad(tasks=TASKS, alpha=2.0, max_iters=50), torchjd.FairGrad(2.0, 50))


def test_the_weights_solve_the_equation():
    rows = gradients()[0]
    weights = FairGrad(tasks=TASKS, alpha=2.0).weigh(rows, TASKS)
    torch.testing.assert_close(rows @ rows.T @ weights, weights**-0.5, rtol=1e-3, atol=1e-3)


def test_alpha_of_zero_is_the_mean():
    rows = gradients()[0]
    torch.testing.assert_close(follow(FairGrad(tasks=TASKS, alpha=0.0), rows), rows.mean(dim=0))
