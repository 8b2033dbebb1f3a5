import numpy as np
import pytest
import torch
from musicemo_builtin.losses.cross_entropy import CrossEntropy
from sklearn.metrics import log_loss
from sklearn.utils.class_weight import compute_class_weight

from musicemo.errors import InputError

COUNTS = {"Blues": 10, "Jazz": 30, "Rock": 60}
SETTINGS = [
    {},
    {"class_weights": "balanced"},
    {"class_weights": {"Jazz": 2.5}},
    {"label_smoothing": 0.1},
    {"class_weights": "balanced", "label_smoothing": 0.3},
]


def batch(n=12, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(n, 3, generator=generator, dtype=dtype)
    return logits.requires_grad_(), torch.randint(3, (n,), generator=generator)


def test_closed_form():
    logits = torch.tensor([[0.0, 0.0, 0.0], [np.log(2.0), 0.0, -np.inf]], dtype=torch.float64)
    expected = (np.log(3) + np.log(3)) / 2
    torch.testing.assert_close(CrossEntropy(class_counts=COUNTS)(logits, torch.tensor([2, 1])).item(), expected)


def test_equals_scikit_learn_with_sample_weights():
    logits, target = batch(40)
    loss = CrossEntropy(class_counts=COUNTS, class_weights="balanced")
    shares = logits.detach().softmax(1).numpy()
    expected = log_loss(target, shares, sample_weight=loss.weights[target].numpy(), labels=[0, 1, 2])
    torch.testing.assert_close(loss(logits, target).item(), expected, rtol=1e-6, atol=0)


def test_equals_the_documented_sum_with_weights_and_smoothing():
    logits, target = batch(40)
    loss = CrossEntropy(class_counts=COUNTS, class_weights="balanced", label_smoothing=0.3)
    w = loss.weights.double()
    q = 0.7 * torch.eye(3, dtype=torch.float64)[target] + 0.1
    expected = -(w * q * logits.log_softmax(1)).sum() / w[target].sum()
    torch.testing.assert_close(loss(logits, target), expected)


def test_balanced_weights_are_scikit_learn_s():
    labels = np.repeat(list(COUNTS), list(COUNTS.values()))
    expected = compute_class_weight("balanced", classes=np.array(list(COUNTS)), y=labels)
    weights = CrossEntropy(class_counts=COUNTS, class_weights="balanced").weights
    torch.testing.assert_close(weights, torch.tensor(expected, dtype=torch.float32))


def test_balanced_weights_of_equal_counts_change_nothing():
    logits, target = batch()
    counts = dict.fromkeys(COUNTS, 7)
    balanced = CrossEntropy(class_counts=counts, class_weights="balanced")
    torch.testing.assert_close(balanced(logits, target), CrossEntropy(class_counts=counts)(logits, target))


def test_a_class_without_training_tracks_weighs_one():
    with_empty = {"Blues": 10, "Folk": 0, "Jazz": 30, "Rock": 60}
    weights = CrossEntropy(class_counts=with_empty, class_weights="balanced").weights
    others = CrossEntropy(class_counts=COUNTS, class_weights="balanced").weights
    assert weights[1] == 1
    assert torch.equal(weights[[0, 2, 3]], others)


def test_given_weights_follow_the_order_of_the_logits():
    loss = CrossEntropy(class_counts=COUNTS, class_weights={"Rock": 3.0, "Blues": 2.0})
    assert loss.weights.tolist() == [2.0, 1.0, 3.0]


def test_weights_are_no_part_of_a_checkpoint():
    assert CrossEntropy(class_counts=COUNTS, class_weights="balanced").state_dict() == {}


@pytest.mark.parametrize("settings", SETTINGS)
def test_gradient(settings):
    loss = CrossEntropy(class_counts=COUNTS, **settings)
    assert loss.kind == "classification"
    logits, target = batch(5)
    assert torch.autograd.gradcheck(lambda p: loss(p, target), logits)


@pytest.mark.parametrize("settings", SETTINGS)
def test_finite_for_ties_one_class_and_batches_of_one(settings):
    loss = CrossEntropy(class_counts=COUNTS, **settings)
    certain = torch.tensor([[1e4, 0.0, -1e4]])
    for logits, target in [
        (torch.zeros(4, 3), [0, 1, 2, 0]),
        (torch.zeros(4, 3), [1, 1, 1, 1]),
        (torch.zeros(1, 3), [2]),
        (certain, [0]),
        (certain, [2]),
    ]:
        logits = logits.clone().requires_grad_()
        value = loss(logits, torch.tensor(target))
        value.backward()
        assert value.isfinite()
        assert value >= 0
        assert logits.grad.isfinite().all()


@pytest.mark.parametrize("settings", SETTINGS)
def test_permutation_of_the_batch(settings):
    loss = CrossEntropy(class_counts=COUNTS, **settings)
    logits, target = batch()
    order = torch.randperm(len(target), generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(loss(logits[order], target[order]), loss(logits, target))


@pytest.mark.parametrize(
    ("prediction", "target"), [((4, 2), (4,)), ((4, 3), (5,)), ((4,), (4,)), ((4, 3), (4, 3)), ((0, 3), (0,))]
)
def test_strict_shapes(prediction, target):
    with pytest.raises(ValueError, match=r"\[batch, 3\] and \[batch\]"):
        CrossEntropy(class_counts=COUNTS)(torch.zeros(prediction), torch.zeros(target, dtype=torch.int64))


def test_unknown_classes_are_all_named_with_the_nearest_and_the_choices():
    with pytest.raises(InputError) as caught:
        CrossEntropy(class_counts=COUNTS, class_weights={"Rok": 1.0, "Jazz": 2.0, "Polka": 1.0})
    first, second = caught.value.problems
    assert "'Rok'; did you mean 'Rock'?" in first
    assert "'Polka'" in second
    assert all("(classes: Blues, Jazz, Rock)" in problem for problem in (first, second))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_single(dtype):
    logits, classes = torch.randn(300, 3, generator=torch.Generator().manual_seed(0)), torch.arange(300) % 3
    loss = CrossEntropy(class_counts={"a": 1, "b": 2, "c": 3}, class_weights="balanced")
    value = loss(logits.to(dtype), classes)
    assert value.dtype == torch.float32
    assert value == loss(logits.to(dtype).float(), classes)
