import torch

from musicemo.ops import WeightedSum


def test_begins_as_the_mean_of_the_layers():
    layers = torch.randn(3, 2, 5, 4)
    module = WeightedSum(3)
    torch.testing.assert_close(module.weights, torch.full((3,), 1 / 3))
    torch.testing.assert_close(module(torch.cat(list(layers), 2)), layers.mean(0))


def test_is_the_weighted_sum():
    module, layers = WeightedSum(2).double(), torch.randn(2, 3, 1, 7, dtype=torch.float64)
    with torch.no_grad():
        module.scores.copy_(torch.tensor([-1.0, 0.7]))
    a, b = module.weights
    assert not module.weights.requires_grad
    torch.testing.assert_close(a + b, torch.ones((), dtype=torch.float64))
    torch.testing.assert_close(module(torch.cat(list(layers), 2)), a * layers[0] + b * layers[1])


def test_gradient():
    module, x = WeightedSum(3).double(), torch.randn(2, 4, 6, dtype=torch.float64, requires_grad=True)

    def weigh(x, scores):
        return torch.func.functional_call(module, {"scores": scores}, (x,))

    assert torch.autograd.gradcheck(weigh, (x, module.scores))


def test_finds_the_layer_that_matters():
    torch.manual_seed(0)
    module, x = WeightedSum(4), torch.randn(32, 1, 8)
    optimizer = torch.optim.Adam(module.parameters(), 0.1)
    for _ in range(60):
        optimizer.zero_grad()
        (module(x) - x[:, :, 4:6]).square().mean().backward()
        optimizer.step()
    assert module.weights[2] > 0.9
