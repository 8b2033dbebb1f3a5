import json
import math
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from musicemo_builtin.losses.soft_spearman import SoftSpearman
from pydantic import ValidationError
from scipy.stats import spearmanr

from musicemo.components.spec import signature_schema
from musicemo.ops import hard_rank, pearson, soft_rank

GOLDEN = Path(__file__).resolve().parents[4] / "shared" / "golden" / "study_loss.json"
FORMS = ("hard", "soft", "study")


def batch(n=32, dtype=torch.float64):
    generator = torch.Generator().manual_seed(n)
    prediction = torch.rand(n, dtype=dtype, generator=generator)
    target = (0.5 * prediction + 0.5 * torch.rand(n, dtype=dtype, generator=generator)).round(decimals=1)
    return prediction.requires_grad_(), target


@pytest.mark.slow
@pytest.mark.skipif(not GOLDEN.is_file(), reason="no golden data beside the checkout")
def test_the_study_s_loss_and_gradient():
    cases = json.loads(GOLDEN.read_text())
    assert len(cases) == 15
    for case in cases:
        prediction = torch.tensor(case["prediction"], dtype=torch.float64, requires_grad=True)
        target = torch.tensor(case["target"], dtype=torch.float64)
        term = SoftSpearman(strength=case["strength"], form="study")(prediction, target)
        loss = torch.nn.functional.mse_loss(prediction, target) + case["correlation_weight"] * term
        loss.backward()
        assert loss.item() == pytest.approx(case["value"], rel=1e-9, abs=1e-12)
        np.testing.assert_allclose(prediction.grad, case["gradient"], rtol=1e-9, atol=1e-12)


@pytest.mark.slow
def test_a_vanishing_strength_gives_one_minus_rho():
    prediction, target = batch()
    rho = spearmanr(prediction.detach(), target).statistic
    for form in ("hard", "soft"):
        assert SoftSpearman(strength=1e-9, form=form)(prediction, target).item() == pytest.approx(1.0 - rho)


def test_the_forms():
    prediction, target = batch()
    ranks = soft_rank(prediction, strength=0.2)
    expected = {
        "hard": 1.0 - pearson(ranks, hard_rank(target)),
        "soft": 1.0 - pearson(ranks, soft_rank(target, strength=0.2)),
        "study": -pearson(ranks / 32, target),
    }
    for form in FORMS:
        loss = SoftSpearman(strength=0.2, form=form)
        assert loss(prediction, target).item() == pytest.approx(expected[form].item(), rel=1e-9)
        assert loss.may_be_negative == (form == "study")


@pytest.mark.slow
def test_the_right_order_costs_nothing_and_its_reverse_two():
    target = torch.linspace(0, 1, 16)
    assert SoftSpearman()(target, target).item() == pytest.approx(0.0, abs=1e-6)
    assert SoftSpearman()(target, -target).item() == pytest.approx(2.0, abs=1e-6)
    assert SoftSpearman()(target, target).item() >= 0.0


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("regularization", ["l2", "kl"])
def test_gradcheck(form, regularization):
    prediction, target = batch(9)
    loss = SoftSpearman(strength=0.15, form=form, regularization=regularization)
    assert torch.autograd.gradcheck(lambda p: loss(p, target), prediction)


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("prediction", "target"),
    [
        pytest.param([0.3, 0.3, 0.3], [0.1, 0.2, 0.3], id="constant prediction"),
        pytest.param([0.1, 0.5, 0.3], [0.7, 0.7, 0.7], id="constant target"),
        pytest.param([0.3, 0.3], [0.7, 0.7], id="both constant"),
        pytest.param([0.3], [0.7], id="batch of one"),
        pytest.param([], [], id="empty batch"),
    ],
)
def test_no_correlation_gives_no_gradient(form, prediction, target):
    prediction = torch.tensor(prediction, requires_grad=True)
    loss = SoftSpearman(form=form)(prediction, torch.tensor(target))
    loss.backward()
    assert loss.item() == (0.0 if form == "study" else 1.0)
    assert (prediction.grad == 0.0).all()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_ties_and_every_precision_are_finite(form, dtype):
    prediction = torch.tensor([0.5, 0.5, 0.2, 0.2, 0.9], dtype=dtype, requires_grad=True)
    loss = SoftSpearman(form=form)(prediction, torch.tensor([0.1, 0.2, 0.2, 0.4, 0.4], dtype=dtype))
    loss.backward()
    assert loss.isfinite()
    assert prediction.grad.isfinite().all()
    assert (prediction.grad != 0.0).any()


def test_a_step_along_the_gradient_lowers_the_loss():
    prediction, target = batch()
    loss = SoftSpearman()
    before = loss(prediction, target)
    before.backward()
    assert loss(prediction - 1e-3 * prediction.grad / prediction.grad.norm(), target) < before


def test_a_diverged_prediction_gives_nan_and_a_bad_target_an_error():
    prediction, target = batch()
    loss = SoftSpearman()
    with torch.no_grad():
        prediction[3] = math.nan
    assert math.isnan(loss(prediction, target).item())
    assert math.isnan(loss.diagnostics(prediction, target)["zero_rank_gradient"])
    prediction, target = batch()
    target[2] = math.nan
    with pytest.raises(ValueError, match="holds NaN"):
        loss(prediction, target)
    with pytest.raises(ValueError, match="same shape"):
        loss(prediction.unsqueeze(1), target)


def test_diagnostics_count_what_the_gradient_leaves_out():
    prediction, target = batch()
    for strength in (1e-4, 0.02, 0.1):
        loss = SoftSpearman(strength=strength)
        prediction.grad = None
        soft_rank(prediction, strength=strength).backward(torch.randn_like(prediction))
        share = (prediction.grad == 0.0).double().mean().item()
        assert loss.diagnostics(prediction, target) == {"zero_rank_gradient": share}
    assert SoftSpearman(strength=1e-4).diagnostics(prediction, target)["zero_rank_gradient"] == 1.0


def test_the_constructor_is_the_schema():
    settings = signature_schema(SoftSpearman)
    assert dict(settings.model_validate({})) == {
        "strength": 0.03,
        "regularization": "l2",
        "form": "hard",
        "backend": "musicemo",
    }
    for wrong in (
        {"strength": 0.0},
        {"strength": -1.0},
        {"strength": math.inf},
        {"form": "sudy"},
        {"regularization": "l1"},
        {"backend": "numpy"},
        {"strenght": 1.0},
    ):
        with pytest.raises(ValidationError):
            settings.model_validate(wrong)
    assert "strength=0.03" in repr(SoftSpearman())


def test_the_original_backend_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "fast_soft_sort", None)
    with pytest.raises(
        ValueError, match=r"pip install git\+https://github\.com/google-research/fast-soft-sort"
    ):
        SoftSpearman(backend="fast-soft-sort")


@pytest.mark.parametrize("form", FORMS)
def test_the_original_backend(monkeypatch, form):
    """The package's call, answered by ours: `[rows, n]` values, its names of the arguments."""
    if "fast_soft_sort" not in sys.modules:
        package, module = ModuleType("fast_soft_sort"), ModuleType("fast_soft_sort.pytorch_ops")

        def stand_in(values, direction="ASCENDING", regularization_strength=1.0, regularization="l2"):
            assert values.dim() == 2
            down = direction == "DESCENDING"
            return soft_rank(
                values, strength=regularization_strength, regularization=regularization, descending=down
            )

        module.soft_rank = stand_in
        monkeypatch.setitem(sys.modules, "fast_soft_sort", package)
        monkeypatch.setitem(sys.modules, "fast_soft_sort.pytorch_ops", module)
    prediction, target = batch()
    options = {"strength": 0.05, "regularization": "kl", "form": form}
    theirs = SoftSpearman(backend="fast-soft-sort", **options)(prediction, target)
    ours = SoftSpearman(**options)(prediction, target)
    torch.testing.assert_close(theirs, ours, rtol=1e-9, atol=1e-9)
    gradients = [torch.autograd.grad(loss, prediction)[0] for loss in (theirs, ours)]
    torch.testing.assert_close(*gradients, rtol=1e-9, atol=1e-9)
    with torch.no_grad():
        prediction[0] = math.nan
    assert math.isnan(SoftSpearman(backend="fast-soft-sort", **options)(prediction, target).item())
