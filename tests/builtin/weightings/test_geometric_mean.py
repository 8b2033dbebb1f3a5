import pytest
import torch
from musicemo_builtin.weightings.geometric_mean import GeometricMean
from torchjd import scalarization
from weighting_steps import TASKS, combined

from musicemo.errors import InputError


def test_closed_form_of_value_and_weights():
    objective, weights = combined(GeometricMean(tasks=TASKS), 1.0, 2.0, 4.0)
    assert objective == pytest.approx(2.0)
    assert weights == pytest.approx([2 / 3, 1 / 3, 1 / 6])


def test_is_torchjds():
    values = (0.3, 1.7, 0.02)
    expected = scalarization.GeometricMean()(torch.tensor(values).double()).item()
    assert combined(GeometricMean(tasks=TASKS), *values)[0] == pytest.approx(expected)


def test_a_loss_of_zero_has_finite_derivatives():
    objective, weights = combined(GeometricMean(tasks=TASKS), 1.0, 0.0, 1.0)
    assert objective == pytest.approx(0.0)
    assert all(abs(weight) < 1e-3 for weight in weights)


def test_a_negative_loss_is_an_error_that_names_its_task():
    with pytest.raises(InputError, match="'energy' is -1: negative"):
        combined(GeometricMean(tasks=TASKS), 1.0, -1.0, 1.0)
