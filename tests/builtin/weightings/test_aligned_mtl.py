import pytest
import torch
import torchjd.aggregation as torchjd
from musicemo_builtin.weightings.aligned_mtl import AlignedMTL
from weighting_steps import TASKS, assert_follows, follow


@pytest.mark.parametrize("mode", ["min", "median", "rmse"])
def test_is_torchjds(mode):
    assert_follows(AlignedMTL(tasks=TASKS, scale_mode=mode), torchjd.AlignedMTL(scale_mode=mode))


def test_preference():
    assert_follows(
        AlignedMTL(tasks=TASKS, preference=dict(zip(TASKS, (0.5, 0.2, 0.3), strict=True))),
        torchjd.AlignedMTL(torch.tensor([0.5, 0.2, 0.3], dtype=torch.float64)),
    )


def test_orthogonal_gradients_of_one_length_are_averaged():
    rows = 2 * torch.eye(3).double()
    torch.testing.assert_close(follow(AlignedMTL(tasks=TASKS), rows), rows.mean(dim=0))
