import torch
import torchjd.aggregation as torchjd
from musicemo_builtin.weightings.imtl_g import IMTLG
from weighting_steps import TASKS, assert_follows, follow, gradients


def test_is_torchjds():
    assert_follows(IMTLG(tasks=TASKS), torchjd.IMTLG())


def test_projections_on_every_gradient_are_the_same_and_weights_sum_to_one():
    weighting, rows = IMTLG(tasks=TASKS), gradients()[0]
    projections = torch.nn.functional.normalize(rows, dim=1) @ follow(weighting, rows)
    torch.testing.assert_close(projections, projections.mean().expand(3))
    assert abs(sum(weighting.scalars().values()) - 1) < 1e-9


def test_gradients_that_are_close_can_turn_the_way_round():
    """What its docstring warns of: the weights sum to 1, and every loss rises."""
    rows = torch.tensor([[1.1, 0.7, 0.0], [0.5, 0.1, -1.4], [2.0, 1.0, 0.3]], dtype=torch.float64)
    assert (rows @ follow(IMTLG(tasks=TASKS), rows) < 0).all()
