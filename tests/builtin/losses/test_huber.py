import pytest
import torch
from loss_properties import assert_is_a_loss, pair
from musicemo_builtin.losses.huber import Huber
from musicemo_builtin.losses.mae import MAE
from musicemo_builtin.losses.mse import MSE
from scipy.special import huber


@pytest.mark.parametrize("delta", [0.1, 2.0])
def test_is_a_loss(delta):
    assert_is_a_loss(Huber(delta=delta))


def test_closed_form():
    loss = Huber(delta=0.5)
    errors = torch.tensor([0.0, 0.5, -0.2, 2.0, -1.0])
    expected = (0 + 0.125 + 0.02 + 0.5 * 1.75 + 0.5 * 0.75) / 5
    torch.testing.assert_close(loss(errors, torch.zeros(5)).item(), expected, rtol=1e-6, atol=0)


def test_equals_scipy():
    prediction, target = pair(40)
    expected = huber(0.3, (prediction.detach() - target).numpy()).mean()
    torch.testing.assert_close(Huber(delta=0.3)(prediction, target).item(), expected)


def test_limits_are_half_the_squared_error_and_a_scaled_absolute_one():
    prediction, target = pair(40)
    torch.testing.assert_close(Huber(delta=1e3)(prediction, target), MSE()(prediction, target) / 2)
    torch.testing.assert_close(
        Huber(delta=1e-9)(prediction, target) / 1e-9, MAE()(prediction, target), rtol=1e-6, atol=0
    )


def test_default_is_not_half_the_squared_error_on_the_unit_range():
    prediction, target = torch.tensor([0.2, 0.9]), torch.tensor([0.7, 0.1])
    assert Huber()(prediction, target) < MSE()(prediction, target) / 2
