import math

import numpy as np
import pytest
import torch
from torch import nn

from musicemo.data import Pairs, Task
from musicemo.errors import InputError
from musicemo.training import Objective, Term

TASKS = (
    Task("valence", "valence", "regression"),
    Task("energy", "energy", "regression"),
    Task("genre", "genre", "classification", classes=("jazz", "rock"), merged={}),
)
NAN = math.nan


class MSE(nn.Module):
    kind = "regression"

    def forward(self, prediction, target):
        assert prediction.shape == target.shape
        assert target.dtype == prediction.dtype
        return ((prediction - target) ** 2).mean()


class CE(nn.Module):
    kind = "classification"

    def forward(self, prediction, target):
        assert target.dtype == torch.int64
        return nn.functional.cross_entropy(prediction, target)


class Returning(nn.Module):
    kind = "regression"

    def __init__(self, make):
        super().__init__()
        self.make = make

    def forward(self, prediction, target):
        return self.make(prediction - target)

    def diagnostics(self, prediction, target):
        assert len(prediction) == len(target)
        return {"spread": prediction.std(correction=0), "count": len(target)}


def objective(*valence):
    mse, ce = [Term(1.0, MSE())], [Term(1.0, CE())]
    return Objective(TASKS, {"valence": list(valence) or mse, "energy": mse, "genre": ce})


#: Indices of the three tracks.
EVERY = np.arange(3)

PREDICTIONS = {
    "valence": torch.tensor([0.1, 0.5, 0.9]),
    "energy": torch.tensor([0.0, 1.0, 0.5]),
    "genre": torch.tensor([[2.0, 0.0], [0.0, 1.0], [0.5, 0.5]]),
}


def test_each_task_has_its_loss():
    losses = objective()(PREDICTIONS, torch.tensor([[0.0, 0.5, 0.0], [0.5, 0.5, 1.0], [1.0, 0.5, 1.0]]), EVERY)
    assert list(losses) == ["valence", "energy", "genre"]
    assert losses["valence"].item() == pytest.approx((0.01 + 0 + 0.01) / 3)
    assert losses["energy"].item() == pytest.approx(0.5 / 3)
    expected = nn.functional.cross_entropy(PREDICTIONS["genre"], torch.tensor([0, 1, 1]))
    assert torch.equal(losses["genre"], expected)


def test_terms_are_weighted_and_summed():
    both = objective(Term(1.0, MSE()), Term(0.25, Returning(lambda d: d.abs().max())))
    losses = both(PREDICTIONS, torch.tensor([[0.0, 0.5, 0.0], [0.5, 0.5, 1.0], [1.0, 0.5, 1.0]]), EVERY)
    assert losses["valence"].item() == pytest.approx(0.02 / 3 + 0.25 * 0.1)


def test_a_missing_target_takes_no_part():
    targets = torch.tensor([[0.0, NAN, 0.0], [NAN, 0.5, NAN], [1.0, 0.5, 1.0]])
    predictions = {name: p.clone().requires_grad_() for name, p in PREDICTIONS.items()}
    losses = objective()(predictions, targets, EVERY)
    assert losses["valence"].item() == pytest.approx(0.01)
    assert losses["energy"].item() == pytest.approx(0.125)
    sum(losses.values()).backward()
    assert predictions["valence"].grad[1] == 0
    assert predictions["energy"].grad[0] == 0
    assert torch.equal(predictions["genre"].grad[1], torch.zeros(2))
    assert predictions["valence"].grad.isfinite().all()


def test_a_task_without_any_target_is_absent():
    targets = torch.tensor([[0.0, NAN, 0.0], [0.2, NAN, 1.0], [1.0, NAN, NAN]])
    assert list(objective()(PREDICTIONS, targets, EVERY)) == ["valence", "genre"]
    assert objective()(PREDICTIONS, torch.full((3, 3), NAN), EVERY) == {}


@pytest.mark.parametrize(
    ("make", "found"),
    [
        (lambda d: d**2, r"shape \[3\]"),
        (lambda d: (d**2).mean().view(1), r"shape \[1\]"),
        (lambda d: d.sum().item(), "float"),
    ],
)
def test_a_loss_that_is_no_scalar_is_refused(make, found):
    with pytest.raises(InputError, match=rf"task 'valence': loss Returning returns {found}, where a scalar"):
        objective(Term(1.0, Returning(make)))(PREDICTIONS, torch.zeros(3, 3), EVERY)


def test_diagnostics_are_those_of_the_tracks_whose_target_is_known():
    targets = torch.tensor([[0.0, 0.5, 0.0], [NAN, 0.5, 1.0], [1.0, 0.5, 1.0]])
    found = objective(Term(1.0, Returning(torch.mean))).diagnostics(PREDICTIONS, targets, EVERY)
    assert found == {"valence/spread": pytest.approx(0.4), "valence/count": 2.0}


def test_the_losses_are_moved_with_the_objective():
    class Weighted(CE):
        def __init__(self):
            super().__init__()
            self.register_buffer("weights", torch.ones(2))

    terms = {"valence": [Term(1.0, MSE())], "energy": [Term(1.0, MSE())], "genre": [Term(1.0, Weighted())]}
    moved = Objective(TASKS, terms).to(torch.float64)
    assert moved.terms["genre"][0].loss.weights.dtype == torch.float64


def test_a_pair_is_compared_if_both_tracks_are_in_the_batch():
    pairs = Pairs(np.array([[0, 4], [2, 4], [3, 9]]), np.array([[3.0, 1.0], [0.0, 2.0], [1.0, 0.0]]))
    tasks = [Task("valence", "valence", "pairs"), Task("genre", "genre", "classification", classes=("a", "b"))]
    terms = {"valence": [Term(2.0, Returning(lambda difference: difference.sum()))], "genre": [Term(1.0, CE())]}
    both = Objective(tasks, terms, {"valence": pairs})
    predictions = {"valence": torch.tensor([1.0, 2.0, 4.0]), "genre": torch.zeros(3, 2)}
    losses = both(predictions, torch.tensor([[0.0], [NAN], [1.0]]), np.array([4, 3, 0]))
    assert list(losses) == ["valence", "genre"]
    assert losses["valence"].item() == 2 * ((4.0 - 3.0) + (1.0 - 1.0))  # the first track is at place 2
    assert list(both(predictions, torch.full((3, 1), NAN), np.array([1, 3, 0]))) == []


def test_of_a_track_that_is_drawn_twice_the_last_prediction_counts():
    pairs = Pairs(np.array([[0, 1]]), np.array([[1.0, 0.0]]))
    terms = {"valence": [Term(1.0, Returning(lambda difference: difference.sum()))]}
    one = Objective([Task("valence", "valence", "pairs")], terms, {"valence": pairs})
    losses = one({"valence": torch.tensor([5.0, 7.0, 0.0])}, torch.empty(3, 0), np.array([0, 0, 1]))
    assert losses["valence"].item() == (7.0 - 1.0) + (0.0 - 0.0)
