import pytest
import torch
from loss_properties import assert_is_a_loss, pair, value_and_gradient
from musicemo_builtin.losses.pearson import Pearson
from scipy.stats import pearsonr


@pytest.mark.slow
def test_is_a_loss():
    assert_is_a_loss(Pearson())


@pytest.mark.parametrize(("sign", "expected"), [(1.0, 0.0), (-1.0, 2.0)])
def test_perfect_and_opposite_correlation(sign, expected):
    _, target = pair()
    torch.testing.assert_close(Pearson()(sign * (3 * target + 7), target).item(), expected)


def test_equals_scipy():
    prediction, target = pair(40)
    expected = 1 - pearsonr(prediction.detach().numpy(), target.numpy()).statistic
    torch.testing.assert_close(Pearson()(prediction, target).item(), expected)


def test_scale_and_shift_change_nothing():
    prediction, target = pair()
    value, gradient = value_and_gradient(Pearson(), prediction, target)
    there, gradient_there = value_and_gradient(Pearson(), 4 * prediction - 2, target)
    torch.testing.assert_close(there, value)
    torch.testing.assert_close(gradient_there, gradient / 4)


@pytest.mark.parametrize(
    ("prediction", "target"),
    [([0.3] * 4, [0.1, 0.5, 0.2, 0.9]), ([0.1, 0.5, 0.2, 0.9], [0.3] * 4), ([0.4], [0.6])],
)
def test_without_variation_the_loss_is_one_and_its_gradient_zero(prediction, target):
    value, gradient = value_and_gradient(Pearson(), torch.tensor(prediction), torch.tensor(target))
    assert value == 1
    assert (gradient == 0).all()


def test_what_is_not_finite():
    finite, broken = torch.tensor([0.1, 0.5]), torch.tensor([0.1, torch.nan])
    assert Pearson()(broken, finite).isnan()
    with pytest.raises(ValueError, match="finite"):
        Pearson()(finite, broken)
