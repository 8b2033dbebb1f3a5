import pytest
import torch
import torchjd.aggregation as torchjd
from musicemo_builtin.weightings.nash_mtl import NashMTL
from weighting_steps import TASKS, assert_follows, follow, gradients

pytestmark = pytest.mark.filterwarnings(
    "ignore:You are solving a parameterized problem:UserWarning"
)  # torchjd's


@pytest.mark.slow
@pytest.mark.parametrize("every", [1, 2])
def test_is_torchjds_step_after_step(every):
    assert_follows(
        NashMTL(tasks=TASKS, optim_niter=3, update_weights_every=every),
        torchjd.NashMTL(3, optim_niter=3, update_weights_every=every),
    )


def test_what_every_task_gains_times_its_weight_is_the_same():
    rows = gradients()[0]
    direction = follow(NashMTL(tasks=TASKS, max_norm=0.0), rows)
    weights = NashMTL(tasks=TASKS, max_norm=0.0).weigh(rows, TASKS)
    gained = rows @ direction * weights
    torch.testing.assert_close(gained / gained.mean(), torch.ones(3).double(), rtol=1e-2, atol=0)


def test_the_length_is_limited():
    rows = 100 * gradients()[0]
    assert follow(NashMTL(tasks=TASKS, max_norm=0.5, optim_niter=2), rows).norm() <= 0.5 + 1e-9
