import numpy as np
import pytest
import torch
from loss_properties import assert_is_a_loss, pair, value_and_gradient
from musicemo_builtin.losses.ccc import CCC
from musicemo_builtin.losses.pearson import Pearson


@pytest.mark.slow
def test_is_a_loss():
    assert_is_a_loss(CCC())


def test_closed_form():
    # deviations -1, 0, 1 and -2, 0, 2: cov 4/3, variances 2/3 and 8/3, means 1 apart
    expected = 1 - 2 * (4 / 3) / (2 / 3 + 8 / 3 + 1)
    loss = CCC()(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([1.0, 3.0, 5.0]))
    torch.testing.assert_close(loss.item(), expected)


@pytest.mark.parametrize(("sign", "expected"), [(1, 0.0), (-1, 2.0)])
def test_equality_and_reflection(sign, expected):
    _, target = pair()
    mean = target.mean()
    torch.testing.assert_close(CCC()(mean + sign * (target - mean), target).item(), expected)


def test_equals_numpy():
    prediction, target = pair(40)
    p, y = prediction.detach().numpy(), target.numpy()
    covariance = np.cov(p, y, bias=True)[0, 1]
    expected = 1 - 2 * covariance / (p.var() + y.var() + (p.mean() - y.mean()) ** 2)
    torch.testing.assert_close(CCC()(prediction, target).item(), expected)


def test_is_the_pearson_loss_where_mean_and_scale_agree_and_more_elsewhere():
    prediction, target = pair(40)
    standard = (prediction.detach() - prediction.mean()) / prediction.std()
    matched = standard * target.std() + target.mean()
    pearson = Pearson()(prediction, target)
    torch.testing.assert_close(CCC()(matched, target), pearson)
    for other in (matched + 0.3, 0.5 * matched, 2 * matched):
        assert (CCC()(other, target) - 1).abs() < (pearson - 1).abs()


@pytest.mark.parametrize(
    ("prediction", "target"),
    [([0.3] * 4, [0.1, 0.5, 0.2, 0.9]), ([0.1, 0.5, 0.2, 0.9], [0.3] * 4), ([0.4], [0.6])],
)
def test_without_variation_the_loss_is_one_and_its_gradient_zero(prediction, target):
    value, gradient = value_and_gradient(CCC(), torch.tensor(prediction), torch.tensor(target))
    assert value == 1
    assert (gradient == 0).all()


def test_what_is_not_finite():
    finite, broken = torch.tensor([0.1, 0.5]), torch.tensor([0.1, torch.inf])
    assert CCC()(broken, finite).isnan()
    with pytest.raises(ValueError, match="finite"):
        CCC()(finite, broken)
