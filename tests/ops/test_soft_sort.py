import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from ranking import reference_sort

from musicemo.ops import soft_sort

REGULARIZATIONS = ("l2", "kl")
pytestmark = pytest.mark.usefixtures("implementation")
relaxed = settings(
    deadline=None,
    max_examples=60,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # a patched module is the same every time
)


@pytest.mark.slow
@pytest.mark.parametrize("regularization", REGULARIZATIONS)
def test_one_value_is_kept(regularization):
    x = torch.tensor([3.7], requires_grad=True)
    result = soft_sort(x, regularization=regularization)
    result.backward()
    assert result.item() == x.item()
    assert x.grad.item() == 1.0


@pytest.mark.slow
@pytest.mark.parametrize("gap", [0.0, 0.3, 2.0, 5.0])
def test_two_values_in_closed_form(gap):
    strength = 0.8  # a step is at most 1 / strength
    x = torch.tensor([1.0 + gap, 1.0], dtype=torch.float64, requires_grad=True)
    step = min(gap, 1.0 / strength)
    result = soft_sort(x, strength=strength)
    middle = 1.0 + gap / 2
    torch.testing.assert_close(
        result, torch.tensor([middle - step / 2, middle + step / 2], dtype=torch.float64)
    )
    if gap == 0.0:
        return  # a kink
    result[0].backward()
    assert x.grad.tolist() == ([0.5, 0.5] if gap >= 1.0 / strength else [0.0, 1.0])


@pytest.mark.parametrize("regularization", REGULARIZATIONS)
@pytest.mark.parametrize("n", [2, 3, 17, 100, 500])
def test_isotonic_regression_of_scikit_learn(regularization, n):
    rng = np.random.default_rng(n)
    x = rng.normal(size=(4, n))
    x[1] = np.round(x[1], 1)
    for strength in (0.05, 0.5, 5.0, 100.0) if regularization == "l2" else (5.0, 100.0):
        expected = np.stack([reference_sort(row, strength, regularization) for row in x])
        options = {"strength": strength, "regularization": regularization}
        ascending = soft_sort(torch.from_numpy(x), **options)
        np.testing.assert_allclose(ascending.numpy(), expected, rtol=1e-8, atol=1e-8)
        descending = soft_sort(torch.from_numpy(-x), descending=True, **options)
        np.testing.assert_allclose(descending.numpy(), -expected, rtol=1e-8, atol=1e-8)


@pytest.mark.slow
@pytest.mark.parametrize("regularization", REGULARIZATIONS)
@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_gradcheck(regularization, descending, masked):
    torch.manual_seed(3)
    x = torch.randn(4, 9, dtype=torch.float64, requires_grad=True)
    mask = torch.rand(4, 9) > 0.3 if masked else None
    for strength in (0.2, 2.0, 20.0):
        assert torch.autograd.gradcheck(
            lambda v, s=strength: soft_sort(
                v, strength=s, regularization=regularization, descending=descending, mask=mask
            ),
            x,
        )


@pytest.mark.parametrize("regularization", REGULARIZATIONS)
@pytest.mark.parametrize("descending", [False, True])
def test_limits(regularization, descending):
    torch.manual_seed(0)
    x = torch.randn(3, 40)
    options = {"regularization": regularization, "descending": descending}
    torch.testing.assert_close(soft_sort(x, strength=1e-6, **options), x.sort(descending=descending).values)
    flat = soft_sort(x, strength=1e6, **options)
    sign = -1.0 if descending else 1.0
    # One value for all: the mean, or for "kl" the soft minimum that the projection keeps.
    mean = x.mean(-1) if regularization == "l2" else -sign * ((-sign * x).logsumexp(-1) - np.log(40))
    torch.testing.assert_close(flat, mean.unsqueeze(-1).expand(flat.shape), rtol=1e-3, atol=1e-4)


@pytest.mark.slow
@relaxed
@given(
    x=arrays(np.float64, st.tuples(st.integers(1, 3), st.integers(1, 20)), elements=st.floats(-20, 20)),
    strength=st.floats(1e-3, 1e3),
    regularization=st.sampled_from(REGULARIZATIONS),
    data=st.data(),
)
def test_properties(x, strength, regularization, data):
    x = torch.from_numpy(x)
    options = {"strength": strength, "regularization": regularization}
    result = soft_sort(x, **options)
    assert (result.diff(dim=-1) >= -1e-9).all()
    if regularization == "l2":
        torch.testing.assert_close(result.sum(-1), x.sum(-1), rtol=1e-9, atol=1e-9)
    turn = torch.tensor(data.draw(st.permutations(range(x.shape[-1]))))
    torch.testing.assert_close(soft_sort(x[:, turn], **options), result, rtol=1e-9, atol=1e-9)
    mask = torch.from_numpy(data.draw(arrays(np.bool_, tuple(x.shape))))
    padded = soft_sort(x.masked_fill(~mask, torch.nan), mask=mask, **options)
    for row, valid, values in zip(x, mask, padded, strict=True):
        count = int(valid.sum())
        torch.testing.assert_close(values[:count], soft_sort(row[valid], **options), rtol=1e-12, atol=1e-12)
        assert (values[count:] == 0.0).all()
