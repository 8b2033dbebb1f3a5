import torch
import torchjd.aggregation as torchjd
from musicemo_builtin.weightings.graddrop import GradDrop
from weighting_steps import TASKS, assert_follows, follow, gradients


def test_is_torchjds():
    assert_follows(GradDrop(tasks=TASKS), torchjd.GradDrop(), weights=False)


def test_what_leaks_of_each_task():
    assert_follows(
        GradDrop(tasks=TASKS, leak=dict(zip(TASKS, (0.1, 0.5, 1.0), strict=True))),
        torchjd.GradDrop(leak=torch.tensor([0.1, 0.5, 1.0], dtype=torch.float64)),
        weights=False,
    )


def test_one_sign_alone_is_heard_in_every_parameter():
    rows = gradients()[0]
    positive, negative = rows.clamp_min(0).sum(dim=0), rows.clamp_max(0).sum(dim=0)
    direction = follow(GradDrop(tasks=TASKS), rows)
    assert (torch.isclose(direction, positive) | torch.isclose(direction, negative)).all()
