import numpy as np
import pytest
import torch
from musicemo_builtin.losses.bce import BinaryCrossEntropy
from musicemo_builtin.losses.focal import Focal

COUNTS = {"calm": (10, 30), "film": (2, 38), "happy": (40, 0)}


def batch(n=12, unknown=0.3):
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(n, 3, generator=generator, dtype=torch.float64)
    target = torch.randint(2, (n, 3), generator=generator).double()
    hidden = torch.rand(n, 3, generator=generator) < unknown
    return logits.requires_grad_(), target.masked_fill(hidden, torch.nan)


def test_closed_form():
    loss = Focal(tag_counts={"a": (1, 1), "b": (1, 1)}, alpha=0.25)
    logits = torch.tensor([[np.log(3.0), np.log(3.0)]], dtype=torch.float64)  # probabilities of 3/4
    expected = (0.25 * 0.25**2 * np.log(4 / 3) + 0.75 * 0.75**2 * np.log(4)) / 2
    torch.testing.assert_close(loss(logits, torch.tensor([[1.0, 0.0]])).item(), expected)


def test_equals_the_documented_mean():
    logits, target = batch(40)
    p = torch.where(target == 1, logits.sigmoid(), 1 - logits.sigmoid())
    a = torch.where(target == 1, 0.3, 0.7)
    expected = (-a * (1 - p) ** 1.5 * p.log())[target.isfinite()].mean()
    torch.testing.assert_close(Focal(tag_counts=COUNTS, gamma=1.5, alpha=0.3)(logits, target), expected)


def test_without_focus_it_is_binary_cross_entropy():
    logits, target = batch()
    expected = BinaryCrossEntropy(tag_counts=COUNTS)(logits, target)
    torch.testing.assert_close(Focal(tag_counts=COUNTS, gamma=0.0)(logits, target), expected)


@pytest.mark.parametrize("settings", [{}, {"gamma": 0.5, "alpha": 0.25}])
def test_gradient(settings):
    logits, target = batch()
    loss = Focal(tag_counts=COUNTS, **settings)
    assert torch.autograd.gradcheck(lambda x: loss(x, target), logits)


def test_the_gradient_is_finite_where_the_probability_is_1():
    logits = torch.full((1, 3), 200.0, requires_grad=True)
    Focal(tag_counts=COUNTS, gamma=0.5)(logits, torch.ones(1, 3)).backward()
    assert torch.equal(logits.grad, torch.zeros(1, 3))
