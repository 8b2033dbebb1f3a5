import pytest
import torch
from musicemo_builtin.weightings.stch import STCH
from torchjd import scalarization
from weighting_steps import TASKS, combined

VALUES = (0.3, 1.7, 0.2)


def test_is_torchjds():
    expected = scalarization.STCH(0.2)(torch.tensor(VALUES).double()).item()
    assert combined(STCH(tasks=TASKS, mu=0.2), *VALUES)[0] == pytest.approx(expected)


def test_weights_and_reference_by_task():
    weights, reference = (
        torch.tensor([1.0, 0.5, 2.0], dtype=torch.float64),
        torch.tensor([0.1, 0.0, 0.05], dtype=torch.float64),
    )
    expected = scalarization.STCH(0.2, weights, reference)(torch.tensor(VALUES).double()).item()
    weighting = STCH(
        tasks=TASKS,
        mu=0.2,
        weights=dict(zip(TASKS, weights.tolist(), strict=True)),
        reference=dict(zip(TASKS, reference.tolist(), strict=True)),
    )
    assert combined(weighting, *VALUES)[0] == pytest.approx(expected)


def test_limits_are_the_maximum_and_the_mean():
    _, weights = combined(STCH(tasks=TASKS, mu=1e-3), *VALUES)
    assert weights == pytest.approx([0, 1 / 3, 0])
    _, weights = combined(STCH(tasks=TASKS, mu=1e3), *VALUES)
    assert weights == pytest.approx([1 / 9] * 3, rel=1e-2)


def test_a_small_smoothing_does_not_overflow():
    objective, weights = combined(STCH(tasks=TASKS, mu=1e-6), 1e3, 1e4, 1.0)
    assert objective == pytest.approx(1e4 / 3)
    assert sum(weights) == pytest.approx(1 / 3)
