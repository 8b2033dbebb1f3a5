import numpy as np
import pytest
import torch
from musicemo_builtin.losses.bce import BinaryCrossEntropy
from sklearn.metrics import log_loss

COUNTS = {"calm": (10, 30), "film": (2, 38), "happy": (40, 0)}


def batch(n=12, unknown=0.0):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(n, 3, generator=generator, dtype=torch.float64)
    target = torch.randint(2, (n, 3), generator=generator).double()
    hidden = torch.rand(n, 3, generator=generator) < unknown
    return logits.requires_grad_(), target.masked_fill(hidden, torch.nan)


@pytest.mark.slow
def test_closed_form():
    loss = BinaryCrossEntropy(tag_counts={"a": (1, 1), "b": (1, 1)})
    logits = torch.tensor([[0.0, np.log(3.0)]], dtype=torch.float64)
    expected = (np.log(2) + np.log(4 / 3)) / 2
    torch.testing.assert_close(loss(logits, torch.tensor([[1.0, 1.0]])).item(), expected)


def test_equals_scikit_learn_on_the_known_pairs():
    logits, target = batch(40, unknown=0.3)
    known = target.isfinite()
    expected = log_loss(target[known], logits.detach().sigmoid()[known].numpy())
    torch.testing.assert_close(BinaryCrossEntropy(tag_counts=COUNTS)(logits, target).item(), expected)


def test_equals_the_documented_mean_with_weights_and_smoothing():
    logits, target = batch(40, unknown=0.2)
    loss = BinaryCrossEntropy(tag_counts=COUNTS, positive_weight="balanced", label_smoothing=0.3)
    q = 0.7 * target + 0.15
    terms = -loss.weights * q * logits.sigmoid().log() - (1 - q) * (1 - logits.sigmoid()).log()
    torch.testing.assert_close(loss(logits, target), terms[target.isfinite()].mean())


def test_balanced_weights_give_both_sides_of_a_tag_the_same_weight():
    weights = BinaryCrossEntropy(tag_counts=COUNTS, positive_weight="balanced").weights
    assert weights.tolist() == [3.0, 19.0, 1.0]
    assert BinaryCrossEntropy(tag_counts=COUNTS, positive_weight=2.5).weights.tolist() == [2.5] * 3


@pytest.mark.parametrize("settings", [{}, {"positive_weight": "balanced", "label_smoothing": 0.2}])
def test_gradient(settings):
    logits, target = batch(unknown=0.3)
    loss = BinaryCrossEntropy(tag_counts=COUNTS, **settings).double()
    assert torch.autograd.gradcheck(lambda x: loss(x, target), logits)


def test_unknown_tags_have_no_gradient():
    logits, target = batch(unknown=0.4)
    BinaryCrossEntropy(tag_counts=COUNTS)(logits, target).backward()
    assert torch.equal(logits.grad == 0, target.isnan())


@pytest.mark.parametrize(("prediction", "target"), [((4, 2), (4, 2)), ((4, 3), (4,)), ((0, 3), (0, 3))])
def test_shapes_are_checked(prediction, target):
    with pytest.raises(ValueError, match="must both be"):
        BinaryCrossEntropy(tag_counts=COUNTS)(torch.zeros(prediction), torch.zeros(target))


def test_a_batch_without_a_known_tag_is_refused():
    with pytest.raises(ValueError, match="no tag of the batch is known"):
        BinaryCrossEntropy(tag_counts=COUNTS)(torch.zeros(2, 3), torch.full((2, 3), torch.nan))
