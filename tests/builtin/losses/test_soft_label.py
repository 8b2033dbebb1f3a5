import math

import pytest
import torch
from musicemo_builtin.losses.soft_label import SoftLabel
from torch.nn.functional import cross_entropy

from musicemo.testing import check_loss


def test_conforms():
    check_loss("soft-label")
    check_loss("soft-label", {"levels": 2})


def batch(levels=5):
    generator = torch.Generator().manual_seed(0)
    prediction = torch.randn(3, levels, generator=generator, dtype=torch.float64).requires_grad_()
    places = torch.randint(levels, (3, 4), generator=generator)
    target = (places / (levels - 1)).double()
    target[1, 2:] = math.nan
    return prediction, target, places


def test_of_ratings_at_the_levels_it_is_the_mean_cross_entropy():
    prediction, target, places = batch()
    of_tracks = [
        cross_entropy(row.expand(len(answers), -1), answers)
        for row, answers in zip(prediction, (places[0], places[1, :2], places[2]), strict=True)
    ]
    torch.testing.assert_close(SoftLabel(levels=5)(prediction, target), torch.stack(of_tracks).mean())


def test_gradcheck_and_weights():
    prediction, target, _ = batch()
    loss = SoftLabel(levels=5)
    assert torch.autograd.gradcheck(lambda p: loss(p, target), prediction)
    weights = torch.tensor([4.0, 2.0, 4.0])
    each = [loss(prediction[row : row + 1], target[row : row + 1]).item() for row in range(3)]
    expected = sum(weight * one for weight, one in zip(weights.tolist(), each, strict=True)) / 10
    assert loss(prediction, target, weights).item() == pytest.approx(expected)


def test_other_shapes_are_refused():
    with pytest.raises(ValueError, match=r"must be \[batch, 5\]"):
        SoftLabel(levels=5)(torch.zeros(3, 4), torch.zeros(3, 2))
