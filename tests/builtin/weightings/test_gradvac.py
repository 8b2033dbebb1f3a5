import torch
import torchjd.aggregation as torchjd
from musicemo_builtin.weightings.gradvac import GradVac
from weighting_steps import TASKS, assert_follows, follow, gradients


def test_is_torchjds_step_after_step():
    assert_follows(GradVac(tasks=TASKS, beta=0.2), torchjd.GradVac(0.2))


def test_the_averages_of_a_task_without_a_label_stay():
    weighting = GradVac(tasks=TASKS).double()
    first, second, *_ = gradients()
    follow(weighting, first)
    before = weighting.cosines.clone()
    follow(weighting, second[:2], ["valence", "danceability"])
    changed = weighting.cosines != before
    assert changed[0, 2]
    assert changed[2, 0]
    assert changed.sum() == 2


def test_at_first_it_is_pcgrad_on_two_tasks():
    rows = gradients(tasks=2)[0]
    torch.testing.assert_close(follow(GradVac(tasks=TASKS[:2], eps=0.0).double(), rows), torchjd.PCGrad()(rows))
