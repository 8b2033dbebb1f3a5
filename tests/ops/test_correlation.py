import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import pearsonr, spearmanr

from musicemo.ops import ccc, pearson, soft_rank, spearman, zero_gradient_share


def soft(prediction, target, **options):
    """Spearman's rho with ranks that are soft at the scale of these tests' values."""
    return spearman(prediction, target, **{"strength": 0.5, **options})


CORRELATIONS = (ccc, pearson, soft)
finite32 = st.floats(allow_nan=False, allow_infinity=False, width=32)
relaxed = settings(
    deadline=None,
    max_examples=60,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # a patched module is the same every time
)


def pair(*shape, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(*shape, dtype=dtype, generator=generator)
    return x, 0.5 * x + torch.randn(*shape, dtype=dtype, generator=generator) + 0.3


def test_pearson_is_scipy_s():
    x, y = pair(4, 20)
    expected = [pearsonr(a, b).statistic for a, b in zip(x.numpy(), y.numpy(), strict=True)]
    np.testing.assert_allclose(pearson(x, y, reduction="none"), expected, rtol=1e-12)
    assert pearson(x, y).item() == pytest.approx(np.mean(expected), rel=1e-12)


def test_ccc_is_lin_s_formula():
    x, y = pair(4, 20)
    a, b = x.numpy(), y.numpy()
    covariance = ((a - a.mean(-1, keepdims=True)) * (b - b.mean(-1, keepdims=True))).mean(-1)
    expected = 2 * covariance / (a.var(-1) + b.var(-1) + (a.mean(-1) - b.mean(-1)) ** 2)
    np.testing.assert_allclose(ccc(x, y, reduction="none"), expected, rtol=1e-12)
    assert ccc(x, x).item() == pytest.approx(1.0)
    assert ccc(x, x + 1.0).item() < ccc(x, x + 0.5).item() < 1.0


@pytest.mark.usefixtures("implementation")
def test_spearman_tends_to_scipy_s():
    x, y = pair(4, 30)
    y = y.round(decimals=0)  # tied targets have average ranks
    expected = [spearmanr(a, b).statistic for a, b in zip(x.numpy(), y.numpy(), strict=True)]
    np.testing.assert_allclose(spearman(x, y, strength=1e-9, reduction="none"), expected, rtol=1e-9)


@pytest.mark.usefixtures("implementation")
def test_spearman_tends_to_pearson():
    x, y = pair(4, 30)
    ranks = torch.argsort(torch.argsort(y)).double()
    for dtype in (torch.float64, torch.float32):
        wide = spearman(x.to(dtype), y.to(dtype), strength=1e4)
        assert wide.item() == pytest.approx(pearson(x, ranks).item(), rel=1e-5)
    raw = spearman(x, y, strength=1e4, target_ranks="none")
    assert raw.item() == pytest.approx(pearson(x, y).item(), rel=1e-9)
    soft = spearman(x, y, strength=0.3, target_ranks="soft")
    ranked = pearson(soft_rank(x, strength=0.3), soft_rank(y, strength=0.3))
    assert soft.item() == pytest.approx(ranked.item(), rel=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("correlation", CORRELATIONS)
@pytest.mark.usefixtures("implementation")
def test_gradcheck(correlation):
    x, y = pair(3, 8)
    x.requires_grad_()
    mask = torch.rand(3, 8, generator=torch.Generator().manual_seed(1)) > 0.3
    assert torch.autograd.gradcheck(lambda v: correlation(v, y), x)
    assert torch.autograd.gradcheck(lambda v: correlation(v, y, mask=mask), x)
    assert torch.autograd.gradcheck(lambda v: correlation(y, v, reduction="none"), x)
    if correlation is soft:
        for options in ({"target_ranks": "soft"}, {"target_ranks": "none"}, {"regularization": "kl"}):
            assert torch.autograd.gradcheck(lambda a, o=options: spearman(a, y, strength=0.7, **o), x)
        z = y.clone().requires_grad_()
        assert torch.autograd.gradcheck(lambda b: soft(x.detach(), b, target_ranks="soft"), z)


@pytest.mark.parametrize("correlation", CORRELATIONS)
@pytest.mark.parametrize("constant", ["prediction", "target", "both"])
@pytest.mark.parametrize("value", [0.0, 0.1, 0.3, 1e6, 1e-30, 3e38])
@pytest.mark.parametrize("n", [1, 2, 3, 7, 1000])
def test_constant_rows(correlation, constant, value, n):
    torch.manual_seed(0)
    x = torch.full((2, n), value) if constant != "target" else torch.randn(2, n)
    y = torch.full((2, n), value) if constant != "prediction" else torch.randn(2, n)
    x.requires_grad_()
    result = correlation(x, y)
    result.backward()
    assert result.item() == 0.0
    assert (x.grad == 0.0).all()


@pytest.mark.parametrize("correlation", CORRELATIONS)
def test_a_constant_row_leaves_the_others_alone(correlation):
    x, y = pair(2, 9)
    x[0] = 0.3
    x.requires_grad_()
    result = correlation(x, y)
    result.backward()
    assert result.item() == pytest.approx(correlation(x[1], y[1]).item() / 2)
    assert (x.grad[0] == 0.0).all()
    assert (x.grad[1] != 0.0).any()


@pytest.mark.parametrize("correlation", CORRELATIONS)
def test_rows_of_fewer_than_two_entries_are_left_out(correlation):
    x, y = pair(3, 9)
    mask = torch.ones(3, 9, dtype=torch.bool)
    mask[0, 1:] = False
    mask[1] = False
    mask[2, 4:] = False
    hidden = y.masked_fill(~mask, torch.nan)
    assert correlation(x, hidden, mask=mask).item() == pytest.approx(correlation(x[2, :4], y[2, :4]).item())
    assert correlation(x, hidden, mask=torch.zeros_like(mask)).item() == 0.0
    assert correlation(x[0, :1], y[0, :1]).item() == 0.0
    assert correlation(x[:0], y[:0]).item() == 0.0
    assert correlation(x[:, :0], y[:, :0], reduction="none").tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("correlation", CORRELATIONS)
def test_one_unit_in_the_last_place_is_variation(correlation):
    x = torch.tensor([0.3, 0.3, 0.3, 0.3])
    x[2] = torch.nextafter(x[2], torch.tensor(1.0))
    y = x.clone()
    assert correlation(x, y, **({"strength": 1e-9} if correlation is soft else {})).item() > 0.99


@pytest.mark.slow
@relaxed
@given(x=arrays(np.float32, (2, 5), elements=finite32), y=arrays(np.float32, (2, 5), elements=finite32))
@pytest.mark.usefixtures("implementation")
def test_finite_and_bounded_for_every_finite_input(x, y):
    for correlation in CORRELATIONS:
        prediction = torch.from_numpy(x).requires_grad_()
        value = correlation(prediction, torch.from_numpy(y), reduction="none")
        value.sum().backward()
        assert value.isfinite().all()
        assert (value.abs() <= 1.0 + 1e-5).all()
        assert prediction.grad.isfinite().all()


@pytest.mark.parametrize("correlation", CORRELATIONS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_single(correlation, dtype):
    x, y = pair(2, 40, dtype=torch.float32)
    x, y = x.to(dtype).requires_grad_(), y.to(dtype)
    value = correlation(x, y)
    value.backward()
    assert value.dtype == torch.float32
    assert x.grad.dtype == dtype
    assert value.item() == correlation(x.float(), y.float()).item()


@pytest.mark.parametrize("correlation", CORRELATIONS)
def test_what_is_refused(correlation):
    x, y = pair(3, 5)
    with pytest.raises(ValueError, match="same shape"):
        correlation(x[:, :1], y)
    with pytest.raises(ValueError, match="reduction must be"):
        correlation(x, y, reduction="sum")
    with pytest.raises(ValueError, match="boolean"):
        correlation(x, y, mask=torch.ones(3, 5))
    with pytest.raises(ValueError, match="does not broadcast"):
        correlation(x, y, mask=torch.ones(2, 5, dtype=torch.bool))
    for bad in (x, y):
        kept, bad[1, 2] = bad[1, 2].item(), torch.nan
        with pytest.raises(ValueError, match="row 1 holds NaN"):
            correlation(x, y)
        bad[1, 2] = kept
    with pytest.raises(ValueError, match="target_ranks must be"):
        spearman(x, y, target_ranks="raw")


@pytest.mark.usefixtures("implementation")
def test_share_of_zero_gradients():
    x = torch.tensor([[0.0, 0.05, 1.0, 2.0], [0.0, 1.0, 1.05, 1.1]])
    assert zero_gradient_share(x, strength=0.1).item() == pytest.approx(3 / 8)
    assert zero_gradient_share(x, strength=10.0).item() == 0.0
    assert zero_gradient_share(x, strength=1e-4, regularization="kl").item() == 1.0
    mask = torch.tensor([[True, False, True, True], [True, True, True, False]])
    assert zero_gradient_share(x, strength=0.1, mask=mask).item() == pytest.approx(4 / 6)
    assert zero_gradient_share(x[:0], strength=0.1).item() == 0.0
    # The same as what the gradient says.
    x = torch.rand(8, 32, generator=torch.Generator().manual_seed(0)).requires_grad_()
    soft_rank(x, strength=0.02).backward(torch.randn(8, 32, generator=torch.Generator().manual_seed(1)))
    assert zero_gradient_share(x, strength=0.02).item() == (x.grad == 0.0).float().mean().item()
