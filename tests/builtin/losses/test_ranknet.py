from itertools import permutations

import pytest
import torch
from musicemo_builtin.losses import ranknet
from musicemo_builtin.losses.ranknet import RankNet
from torch.nn.functional import binary_cross_entropy_with_logits, softplus


def batch(n=12, seed=0):
    generator = torch.Generator().manual_seed(seed)
    prediction, target = torch.rand(2, n, generator=generator, dtype=torch.float64)
    return prediction.requires_grad_(), target.mul(5).round() / 5


def test_closed_form():
    prediction = torch.tensor([0.2, 0.5], dtype=torch.float64)
    expected = softplus(torch.tensor(-3.0, dtype=torch.float64))
    torch.testing.assert_close(RankNet()(prediction, torch.tensor([0.0, 1.0]).double()), expected)


@pytest.mark.parametrize("settings", [{}, {"scale": 3.0, "min_difference": 0.3}])
def test_equals_the_cross_entropy_of_the_ordered_pairs(settings):
    prediction, target = batch()
    scale, least = settings.get("scale", 10.0), settings.get("min_difference", 0.0)
    logits = [
        scale * (prediction[i] - prediction[j])
        for i, j in permutations(range(12), 2)
        if target[i] - target[j] > least
    ]
    expected = binary_cross_entropy_with_logits(torch.stack(logits), torch.ones(len(logits)).double())
    torch.testing.assert_close(RankNet(**settings)(prediction, target), expected)


def test_a_large_set_is_compared_in_pieces(monkeypatch):
    prediction, target = batch(30)
    whole = RankNet()(prediction, target)
    monkeypatch.setattr(ranknet, "_AT_ONCE", 70)
    torch.testing.assert_close(RankNet()(prediction, target), whole)


def test_gradient():
    prediction, target = batch()
    assert torch.autograd.gradcheck(lambda p: RankNet(scale=2.0)(p, target), prediction)


def test_only_differences_of_predictions_matter():
    prediction, target = batch()
    torch.testing.assert_close(RankNet()(prediction + 5, target), RankNet()(prediction, target))


def test_tied_targets_have_no_loss():
    prediction = torch.rand(5, requires_grad=True)
    loss = RankNet()(prediction, torch.full((5,), 0.3))
    loss.backward()
    assert loss == 0
    assert not prediction.grad.any()


def judged(pairs=9, seed=0):
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(pairs, 2, generator=generator, dtype=torch.float64)
    listeners = torch.randint(0, 5, (pairs, 2), generator=generator).double() + torch.tensor([1.0, 0.0])
    return scores.requires_grad_(), listeners.double()


def test_of_judged_pairs_each_listener_is_a_term():
    scores, listeners = judged()
    logits = 3.0 * (scores[:, 0] - scores[:, 1])
    each = [
        binary_cross_entropy_with_logits(logit, torch.tensor(answer).double())
        for logit, counts in zip(logits, listeners.tolist(), strict=True)
        for answer, count in ((1.0, counts[0]), (0.0, counts[1]))
        for _ in range(int(count))
    ]
    torch.testing.assert_close(RankNet(scale=3.0)(scores, listeners), torch.stack(each).mean())


def test_the_best_difference_of_a_pair_is_the_logit_of_its_listeners():
    difference = torch.tensor(3 / 1).log().double() / 2.0  # three of four listeners, scale 2
    scores = torch.stack([difference, torch.zeros(()).double()])[None].requires_grad_()
    RankNet(scale=2.0)(scores, torch.tensor([[3.0, 1.0]])).backward()
    torch.testing.assert_close(scores.grad, torch.zeros(1, 2).double())


def test_judged_pairs_have_a_gradient_and_no_order():
    scores, listeners = judged()
    assert torch.autograd.gradcheck(lambda p: RankNet(scale=2.0)(p, listeners), scores)
    torch.testing.assert_close(RankNet()(scores.flip(1), listeners.flip(1)), RankNet()(scores, listeners))
    with pytest.raises(ValueError, match=r"\[pairs, 2\]"):
        RankNet()(scores[:, 0], listeners)
