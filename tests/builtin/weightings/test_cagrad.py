import torch
import torchjd.aggregation as torchjd
from musicemo_builtin.weightings.cagrad import CAGrad
from weighting_steps import TASKS, assert_follows, follow, gradients


def test_is_torchjds():
    assert_follows(CAGrad(tasks=TASKS, c=0.4, norm_eps=1e-5), torchjd.CAGrad(0.4, 1e-5))


def test_without_room_it_is_the_mean():
    rows = gradients()[0]
    torch.testing.assert_close(follow(CAGrad(tasks=TASKS, c=0.0), rows), rows.mean(dim=0))


def test_it_stays_near_the_mean_and_serves_the_worst_task_better():
    rows = gradients()[0]
    mean, direction = rows.mean(dim=0), follow(CAGrad(tasks=TASKS, c=0.5), rows)
    torch.testing.assert_close((direction - mean).norm(), 0.5 * mean.norm(), rtol=1e-4, atol=0)
    assert (rows @ direction).min() > (rows @ mean).min()


def test_from_one_on_no_task_is_opposed():
    assert CAGrad(tasks=TASKS, c=1.0).conflict_free
    assert not CAGrad(tasks=TASKS, c=0.9).conflict_free
    for rows in gradients():
        assert (rows @ follow(CAGrad(tasks=TASKS, c=1.0), rows)).min() > -1e-3
