import torch
import torchjd.aggregation as torchjd
from musicemo_builtin.weightings.dualproj import DualProj
from weighting_steps import TASKS, assert_follows, follow


def test_is_torchjds():
    assert_follows(DualProj(tasks=TASKS), torchjd.DualProj())


def test_preference():
    assert_follows(
        DualProj(tasks=TASKS, preference=dict(zip(TASKS, (0.5, 0.2, 0.3), strict=True))),
        torchjd.DualProj(torch.tensor([0.5, 0.2, 0.3], dtype=torch.float64)),
    )


def test_a_task_that_the_mean_opposes_is_not_opposed():
    rows = torch.tensor([[4.0, 1.0, 0.0], [-1.0, 1.0, 0.0], [0.0, 0.0, 0.1]]).double()
    assert rows.mean(dim=0) @ rows[1] < 0
    assert follow(DualProj(tasks=TASKS), rows) @ rows[1] > -1e-3
