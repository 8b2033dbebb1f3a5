import math

import pytest
import torch
from musicemo_builtin.losses.gaussian_nll import GaussianNLL

from musicemo.ops import Gaussian
from musicemo.testing import check_loss

TARGET = torch.tensor([[0.2, 0.4, math.nan], [0.9, 0.9, 0.6]], dtype=torch.float64)


def prediction():
    return torch.tensor([[0.3, -2.0], [0.5, 0.1]], dtype=torch.float64, requires_grad=True)


def test_conforms():
    check_loss("gaussian-nll")
    check_loss("gaussian-nll", {"beta": 0.5})


def test_closed_form():
    outputs, deviation = prediction(), Gaussian().deviation(prediction()).tolist()
    errors = [[0.1, 0.1], [0.4, 0.4, 0.1]]
    expected = sum(
        sum(e**2 / (2 * s**2) + math.log(s) + math.log(2 * math.pi) / 2 for e in of_track) / len(of_track)
        for of_track, s in zip(errors, deviation, strict=True)
    )
    assert GaussianNLL()(outputs, TARGET).item() == pytest.approx(expected / 2)


def test_the_gradient_with_beta_1_is_that_of_the_squared_error():
    outputs = prediction()
    GaussianNLL(beta=1.0)(outputs, TARGET).backward()
    errors = outputs.detach()[:, 0] - TARGET.nanmean(1)
    torch.testing.assert_close(outputs.grad[:, 0], errors / 2)


def test_gradcheck():
    assert torch.autograd.gradcheck(lambda p: GaussianNLL()(p, TARGET), prediction())


def test_weights_of_tracks():
    loss, outputs = GaussianNLL(), prediction()
    first, second = (loss(outputs[row : row + 1], TARGET[row : row + 1]).item() for row in (0, 1))
    weighted = loss(outputs, TARGET, torch.tensor([2.0, 3.0])).item()
    assert weighted == pytest.approx((2 * first + 3 * second) / 5)


def test_diagnostics():
    assert GaussianNLL().diagnostics(prediction(), TARGET) == {
        "predicted_deviation": pytest.approx(Gaussian().deviation(prediction()).mean().item())
    }


def test_other_shapes_are_refused():
    with pytest.raises(ValueError, match=r"must be \[batch, 2\] and \[batch, listeners\]"):
        GaussianNLL()(torch.zeros(3), torch.zeros(3))
    with pytest.raises(ValueError, match="at least one rating"):
        GaussianNLL()(torch.zeros(1, 2), torch.full((1, 2), math.nan))
