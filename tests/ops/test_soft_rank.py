import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from ranking import (
    assert_order,
    assert_padding_independence,
    assert_permutation_equivariance,
    assert_range,
    assert_reversal,
    assert_row_independence,
    assert_shift_invariance,
    assert_sum,
    reference_rank,
)
from scipy.stats import rankdata

from musicemo.ops import _backend, hard_rank, soft_rank

GOLDEN = Path(__file__).resolve().parents[3] / "shared" / "golden" / "soft_rank.npz"
REGULARIZATIONS = ("l2", "kl")
relaxed = settings(
    deadline=None,
    max_examples=60,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # a patched module is the same every time
)
strengths = st.floats(1e-3, 1e3)
rows = arrays(
    np.float64,
    st.tuples(st.integers(1, 3), st.integers(1, 24)),
    elements=st.one_of(st.floats(-50, 50), st.sampled_from([-1.0, 0.0, 0.5, 1.0])),
)
regularizations = st.sampled_from(REGULARIZATIONS)


def golden_cases():
    if not GOLDEN.is_file():
        return []
    with np.load(GOLDEN) as data:
        return json.loads(str(data["meta"]))


@pytest.fixture(scope="module")
def golden():
    if not GOLDEN.is_file():
        pytest.skip("no golden data beside the checkout")
    with np.load(GOLDEN) as data:
        return dict(data)


def rank_and_product(x, g, **options):
    x = x.clone().requires_grad_()
    ranks = soft_rank(x, **options)
    ranks.backward(g)
    return ranks.detach(), x.grad


@pytest.mark.parametrize("kind", sorted({case["kind"] for case in golden_cases()}) or ["none"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_the_original_s_ranks_and_products(golden, kind, dtype, implementation):
    if implementation == "portable" and dtype == torch.float32:
        pytest.skip("computed in float64 all the same")
    cases = [case for case in golden_cases() if case["kind"] == kind]
    assert cases
    single = dtype == torch.float32
    tolerance = 1e-4 if single else 1e-6
    for case in cases:
        if single and case["strength"] < 0.1:
            continue  # rounding x to float32 moves x / strength by more than the tolerance
        k = case["case"]
        options = {key: case[key] for key in ("strength", "regularization", "descending")}
        x, g = (torch.tensor(golden[f"{k}_{name}"], dtype=dtype) for name in "xg")
        ranks, product = rank_and_product(x, g, **options)
        expected, vjp = (torch.tensor(golden[f"{k}_{name}"], dtype=dtype) for name in ("rank", "vjp"))
        torch.testing.assert_close(ranks, expected, rtol=tolerance, atol=0.0, msg=lambda m, c=case: f"{c} {m}")
        scale = vjp.abs().max().item()
        torch.testing.assert_close(
            product, vjp, rtol=tolerance, atol=tolerance * scale, msg=lambda m, c=case: f"{c} {m}"
        )


def test_the_golden_data_is_whole(golden):
    assert len(golden_cases()) == 204


@pytest.mark.parametrize("regularization", REGULARIZATIONS)
@pytest.mark.usefixtures("implementation")
def test_one_value_has_rank_one_and_no_gradient(regularization):
    x, g = torch.tensor([[3.7]]), torch.tensor([[2.0]])
    ranks, product = rank_and_product(x, g, regularization=regularization)
    assert ranks.item() == 1.0
    assert product.item() == 0.0


@pytest.mark.parametrize("gap", [0.0, 0.3, 0.999, 1.5])
@pytest.mark.usefixtures("implementation")
def test_two_values_in_closed_form(gap):
    # l2: ranks 3/2 -+ d/2 with d = min(gap / strength, 1); kl: e^x shared out, until the ranks are 1 and 2.
    strength = 0.8
    x = torch.tensor([0.2 + gap, 0.2], dtype=torch.float64)
    g = torch.tensor([1.0, 0.0], dtype=torch.float64)
    d = min(gap / strength, 1.0)
    ranks, product = rank_and_product(x, g, strength=strength)
    torch.testing.assert_close(ranks, torch.tensor([1.5 + d / 2, 1.5 - d / 2], dtype=torch.float64))
    slope = 0.5 / strength if d < 1.0 else 0.0
    torch.testing.assert_close(product, torch.tensor([slope, -slope], dtype=torch.float64))

    pooled = gap / strength < np.log(2.0)
    high = 3.0 / (1.0 + np.exp(-gap / strength)) if pooled else 2.0
    ranks, product = rank_and_product(x, g, strength=strength, regularization="kl")
    torch.testing.assert_close(ranks, torch.tensor([high, 3.0 - high], dtype=torch.float64))
    slope = high * (3.0 - high) / 3.0 / strength if pooled else 0.0
    torch.testing.assert_close(product, torch.tensor([slope, -slope], dtype=torch.float64))


@pytest.mark.parametrize("regularization", REGULARIZATIONS)
@pytest.mark.parametrize("n", [2, 3, 17, 39, 40, 41, 100, 1000])
@pytest.mark.usefixtures("implementation")
def test_isotonic_regression_of_scikit_learn(regularization, n):
    rng = np.random.default_rng(n)
    x = rng.normal(size=(6, n))
    x[1] = np.round(x[1], 1)  # ties
    x[2] = np.sort(x[2])
    x[3, : n // 2] = 0.25
    for strength in (0.02, 0.3, 5.0):
        expected = np.stack([reference_rank(row, strength, regularization) for row in x])
        ranks = soft_rank(torch.from_numpy(x), strength=strength, regularization=regularization)
        np.testing.assert_allclose(ranks.numpy(), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("n", [10, 400])
@pytest.mark.usefixtures("implementation")
def test_two_clusters_are_pooled_up_to_a_gap_of_half_their_number(n):
    for gap, pooled in ((0.499 * n, True), (0.501 * n, False)):
        x = torch.cat((torch.zeros(n // 4), torch.full((n - n // 4,), gap))).double()
        ranks = soft_rank(x)
        torch.testing.assert_close(ranks[-1] - ranks[0], torch.tensor(gap if pooled else n / 2).double())


@pytest.mark.slow
@pytest.mark.parametrize("regularization", REGULARIZATIONS)
@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.usefixtures("implementation")
def test_gradcheck(regularization, descending, masked):
    torch.manual_seed(3)
    x = torch.randn(4, 9, dtype=torch.float64, requires_grad=True)
    mask = torch.rand(4, 9) > 0.3 if masked else None
    for strength in (0.1, 0.7, 20.0):
        assert torch.autograd.gradcheck(
            lambda v, s=strength: soft_rank(
                v, strength=s, regularization=regularization, descending=descending, mask=mask
            ),
            x,
        )


@pytest.mark.parametrize("regularization", REGULARIZATIONS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.usefixtures("implementation")
def test_limits(regularization, dtype):
    torch.manual_seed(0)
    x = torch.randn(3, 50, dtype=dtype)
    x[0, :10] = x[0, 0]
    options = {"regularization": regularization}
    expected = torch.from_numpy(rankdata(x.numpy(), axis=-1)).to(dtype)
    torch.testing.assert_close(soft_rank(x, strength=1e-12, **options), expected)
    flat = soft_rank(x, strength=1e12, **options)
    torch.testing.assert_close(flat, torch.full_like(flat, 25.5))
    _, product = rank_and_product(x, torch.randn_like(x), strength=1e-12, **options)
    assert (product[1:] == 0.0).all()


@pytest.mark.usefixtures("implementation")
def test_large_strength_is_linear():
    torch.manual_seed(0)
    x = torch.randn(2, 30, dtype=torch.float64)
    ranks = soft_rank(x, strength=100.0)
    torch.testing.assert_close(ranks - 15.5, (x - x.mean(-1, keepdim=True)) / 100.0)


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.usefixtures("implementation")
def test_hard_ranks_are_average_ranks(descending):
    x = torch.tensor([[0.5, 0.1, 0.5, 0.9, 0.5, 0.1], [3.0, 2.0, 1.0, 0.0, -0.0, -5.0]])
    expected = torch.from_numpy(rankdata(-x.numpy() if descending else x.numpy(), axis=-1)).float()
    assert torch.equal(hard_rank(x, descending=descending), expected)
    x = torch.tensor([0, 0.3, 0.1, 7.0])
    mask = torch.tensor([True, True, True, False])
    assert hard_rank(x, mask=mask).tolist() == [1.0, 3.0, 2.0, 0.0]


@pytest.mark.slow
@relaxed
@given(x=rows, strength=strengths, regularization=regularizations)
@pytest.mark.usefixtures("implementation")
def test_sum_order_range(x, strength, regularization):
    x = torch.from_numpy(x)
    assert_sum(x, strength, regularization)
    assert_order(x, strength, regularization)
    assert_range(x, strength, regularization)


@pytest.mark.slow
@relaxed
@given(x=rows, strength=strengths, regularization=regularizations, data=st.data())
@pytest.mark.usefixtures("implementation")
def test_equivariance_and_invariance(x, strength, regularization, data):
    x = torch.from_numpy(x)
    turn = torch.tensor(data.draw(st.permutations(range(x.shape[-1]))))
    assert_permutation_equivariance(x, turn, strength, regularization)
    assert_shift_invariance(x, data.draw(st.floats(-100, 100)), strength, regularization)
    assert_reversal(x, strength)


@pytest.mark.slow
@relaxed
@given(x=rows, strength=strengths, regularization=regularizations, data=st.data())
@pytest.mark.usefixtures("implementation")
def test_independence(x, strength, regularization, data):
    mask = torch.from_numpy(data.draw(arrays(np.bool_, x.shape)))
    assert_row_independence(torch.from_numpy(x), strength, regularization)
    assert_padding_independence(torch.from_numpy(x), mask, strength, regularization)


@relaxed
@given(
    x=arrays(
        np.float32, st.integers(1, 12), elements=st.floats(allow_nan=False, allow_infinity=False, width=32)
    ),
    strength=st.floats(1e-6, 1e6),
    regularization=regularizations,
)
@pytest.mark.usefixtures("implementation")
def test_finite_for_every_finite_input(x, strength, regularization):
    x = torch.from_numpy(x)
    ranks, product = rank_and_product(x, torch.ones_like(x), strength=strength, regularization=regularization)
    assert ranks.isfinite().all()
    assert product.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("n", [41, 300, 2000, 20000])
def test_the_radix_sort_at_every_width(dtype, n):
    torch.manual_seed(n)
    rows = [torch.randn(n, dtype=torch.float64) * 10.0**e for e in (-30, -3, 0, 30)]
    rows.append(1.0 + torch.arange(n, dtype=torch.float64).flip(0) * 2.0**-45)  # equal in the upper half
    rows.append(torch.randn(n, dtype=torch.float64).round(decimals=1))
    x = torch.stack(rows).to(dtype)
    for descending in (False, True):
        expected = rankdata(-x.numpy() if descending else x.numpy(), axis=-1)
        np.testing.assert_array_equal(hard_rank(x, descending=descending).numpy(), expected)


@pytest.mark.parametrize("regularization", REGULARIZATIONS)
@pytest.mark.parametrize("strength", [1e-3, 0.05, 1.0, 30.0])
def test_both_implementations_agree_on_long_rows(monkeypatch, regularization, strength):
    torch.manual_seed(5)
    x = torch.randn(3, 1497, dtype=torch.float64)
    x[1] = torch.cat((torch.linspace(0, 800, 747), torch.full((750,), 800.5)))  # pools one by one
    x[2] = x[2].round(decimals=2)
    mask = torch.rand(3, 1497) > 0.2
    g = torch.randn_like(x)
    options = {"strength": strength, "regularization": regularization, "mask": mask}
    ranks, product = rank_and_product(x, g, **options)
    monkeypatch.setattr(_backend, "has_kernels", lambda tensor: False)
    again, product_again = rank_and_product(x, g, **options)
    torch.testing.assert_close(again, ranks, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(product_again, product, rtol=1e-7, atol=1e-9 / strength)
