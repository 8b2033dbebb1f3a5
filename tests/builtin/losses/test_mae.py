import torch
from loss_properties import assert_is_a_loss, pair
from musicemo_builtin.losses.mae import MAE
from sklearn.metrics import mean_absolute_error


def test_is_a_loss():
    assert_is_a_loss(MAE())


def test_closed_form():
    assert MAE()(torch.tensor([0.0, 1.0, 2.0]), torch.tensor([0.0, 0.0, 4.0])).item() == 1.0


def test_equals_scikit_learn():
    prediction, target = pair(40)
    expected = mean_absolute_error(target.numpy(), prediction.detach().numpy())
    torch.testing.assert_close(MAE()(prediction, target).item(), expected)


def test_gradient_of_an_exact_prediction_is_zero():
    prediction = torch.tensor([0.5, 0.5], requires_grad=True)
    MAE()(prediction, torch.tensor([0.5, 0.0])).backward()
    assert prediction.grad.tolist() == [0.0, 0.5]


def test_best_constant_is_the_median():
    _, target = pair(41)
    losses = [MAE()(torch.full((41,), float(c), dtype=torch.float64), target) for c in target]
    assert torch.stack(losses).argmin() == (target - target.median()).abs().argmin()
