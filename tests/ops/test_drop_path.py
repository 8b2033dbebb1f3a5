import pytest
import torch

from musicemo.ops import DropPath


@pytest.mark.parametrize("shape", [(4000, 3), (4000, 2, 3, 1)])
def test_rows_are_dropped_or_scaled_and_keep_their_mean(shape):
    torch.manual_seed(0)
    factors = DropPath(0.2)(torch.ones(shape)).flatten(1)
    assert torch.equal(factors, factors[:, :1].expand_as(factors))
    dropped = factors[:, 0] == 0
    torch.testing.assert_close(factors[~dropped], torch.full_like(factors[~dropped], 1.25))
    assert dropped.float().mean() == pytest.approx(0.2, abs=0.03)  # five standard errors


@pytest.mark.parametrize(("probability", "training"), [(0.0, True), (0.9, False)])
def test_nothing_is_dropped_and_no_random_numbers_are_drawn(probability, training):
    x, state = torch.randn(50, 2), torch.get_rng_state()
    assert DropPath(probability).train(training)(x) is x
    assert torch.equal(torch.get_rng_state(), state)


def test_the_gradient_is_zero_in_dropped_rows():
    torch.manual_seed(0)
    x = torch.ones(60, 2, requires_grad=True)
    y = DropPath(0.5)(x)
    y.sum().backward()
    assert torch.equal(x.grad, y.detach())  # the factor of each row
    assert set(x.grad.flatten().tolist()) == {0.0, 2.0}


@pytest.mark.parametrize("probability", [-0.1, 1.0])
def test_a_probability_is_at_least_0_and_less_than_1(probability):
    with pytest.raises(ValueError, match="probability must be at least 0 and less than 1"):
        DropPath(probability)
