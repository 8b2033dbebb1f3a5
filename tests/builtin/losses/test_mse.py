import torch
from loss_properties import assert_is_a_loss, pair
from musicemo_builtin.losses.mse import MSE
from sklearn.metrics import mean_squared_error


def test_is_a_loss():
    assert_is_a_loss(MSE())


def test_closed_form():
    assert (
        MSE()(torch.tensor([0.0, 1.0, 2.0, 3.0]), torch.tensor([0.0, 0.0, 4.0, 3.0])).item()
        == (0 + 1 + 4 + 0) / 4
    )


def test_equals_scikit_learn():
    prediction, target = pair(40)
    expected = mean_squared_error(target.numpy(), prediction.detach().numpy())
    torch.testing.assert_close(MSE()(prediction, target).item(), expected)


def test_best_constant_is_the_mean():
    _, target = pair(40)
    prediction = target.mean().repeat(40).requires_grad_()
    MSE()(prediction, target).backward()
    torch.testing.assert_close(prediction.grad.sum().item(), 0.0)
