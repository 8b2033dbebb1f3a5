"""What every loss of a regression must hold, as assertions."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from musicemo.testing import check_loss

_UNIT = st.floats(0, 1, width=32)
_PAIRS = st.integers(1, 12).flatmap(
    lambda n: st.tuples(arrays(np.float32, n, elements=_UNIT), arrays(np.float32, n, elements=_UNIT))
)


def pair(n=9, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    prediction = torch.randn(n, generator=generator, dtype=dtype)
    target = torch.rand(n, generator=generator, dtype=dtype)
    return prediction.requires_grad_(), target


def value_and_gradient(loss, prediction, target):
    prediction = prediction.detach().clone().requires_grad_()
    value = loss(prediction, target)
    (gradient,) = torch.autograd.grad(value, prediction)
    return value.detach(), gradient


def assert_is_a_loss(loss):
    """All of what follows, for a regression loss that is never negative."""
    assert loss.kind == "regression"
    assert not getattr(loss, "may_be_negative", False)
    assert_strict_shapes(loss)
    assert_finite(loss)
    assert_gradient(loss)
    assert_permutation_invariance(loss)
    assert_half_precision_is_computed_in_single(loss)
    check_loss(type(loss))


def assert_strict_shapes(loss):
    """`[n, 1]` against `[n]` is an error, and so is every other pair but `[n]` and `[n]`."""
    shapes = [((4, 1), (4,)), ((4,), (4, 1)), ((4,), (5,)), ((1,), (4,)), ((4,), (1,)), ((4,), ()), ((), ())]
    for left, right in [*shapes, ((2, 2), (2, 2)), ((0,), (0,))]:
        with pytest.raises(ValueError, match=r"must both be \[batch\]"):
            loss(torch.rand(left), torch.rand(right))


def assert_half_precision_is_computed_in_single(loss):
    """The value is in float32, and that of the same numbers in float32."""
    for dtype in (torch.float16, torch.bfloat16):
        prediction, target = (part.detach().to(dtype) for part in pair(400))
        value = loss(prediction, target)
        assert value.dtype == torch.float32
        assert value == loss(prediction.float(), target.float())


def assert_finite(loss):
    """Value and gradient are finite, and the value is not negative, for every pair in the unit range."""

    @settings(max_examples=40, deadline=None)
    @given(_PAIRS)
    def check(pair):
        value, gradient = value_and_gradient(loss, *map(torch.from_numpy, pair))
        assert value.shape == ()
        assert value.isfinite()
        assert value >= -1e-6
        assert gradient.isfinite().all()

    check()


def assert_gradient(loss):
    """The gradient is the numerical one, in float64."""
    prediction, target = pair()
    assert torch.autograd.gradcheck(lambda p: loss(p, target), prediction)


def assert_permutation_invariance(loss):
    """The order of a batch has no part."""
    prediction, target = pair()
    order = torch.randperm(len(target), generator=torch.Generator().manual_seed(1))
    value, gradient = value_and_gradient(loss, prediction, target)
    there, gradient_there = value_and_gradient(loss, prediction[order], target[order])
    torch.testing.assert_close(there, value)
    torch.testing.assert_close(gradient_there, gradient[order])
