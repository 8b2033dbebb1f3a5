"""Losses, heads and scores of ratings over time."""

from math import nan

import numpy as np
import pytest
import torch
from musicemo_builtin.losses.ccc import CCC
from musicemo_builtin.losses.mse import MSE
from musicemo_builtin.losses.soft_spearman import SoftSpearman
from torch import Tensor, nn

from musicemo.contracts import Step
from musicemo.data import HeadSettings, Task
from musicemo.errors import InputError
from musicemo.training import Network, Objective, Term
from musicemo.training.criteria import mean_predictor_losses

CPU = torch.device("cpu")
AROUSAL = Task("arousal", "arousal", "series")
VALENCE = Task("valence", "valence", "regression")

TARGET = torch.tensor([[0.1, 0.4, nan, 0.9], [nan] * 4, [0.5, 0.2, 0.7, nan]])
PREDICTION = torch.tensor([[0.2, 0.3, 0.5, 0.6], [0.1, 0.2, 0.3, 0.4], [0.4, 0.5, 0.5, 0.1]])


def loss_of(term: Term, prediction: Tensor = PREDICTION, target: Tensor = TARGET) -> Tensor:
    objective = Objective([AROUSAL], {"arousal": [term]})
    return objective(
        {"arousal": prediction}, torch.zeros(len(target), 0), np.arange(len(target)), {"arousal": target}
    )["arousal"]


def test_all_ratings_of_a_batch_are_compared_together():
    rated = TARGET.isfinite()
    assert loss_of(Term(1.0, MSE())) == pytest.approx(float(MSE()(PREDICTION[rated], TARGET[rated])))
    assert loss_of(Term(0.5, CCC(), "all")) == pytest.approx(
        float(0.5 * CCC()(PREDICTION[rated], TARGET[rated]))
    )


def test_ratings_are_compared_song_by_song():
    each = [
        CCC()(PREDICTION[row][TARGET[row].isfinite()], TARGET[row][TARGET[row].isfinite()]) for row in (0, 2)
    ]
    assert loss_of(Term(1.0, CCC())) == pytest.approx(float(sum(each) / 2))
    assert CCC.per == "song"


def test_songs_are_compared_step_by_step():
    loss = SoftSpearman()
    assert loss.per == "step"
    some = [TARGET[:, step].isfinite() for step in range(4)]
    each = [loss(PREDICTION[:, step][rows], TARGET[:, step][rows]) for step, rows in enumerate(some)]
    assert loss_of(Term(1.0, loss)) == pytest.approx(float(sum(each) / 4))


def test_what_is_not_rated_has_no_gradient():
    for term in (Term(1.0, MSE()), Term(1.0, CCC())):
        prediction = PREDICTION.clone().requires_grad_()
        loss_of(term, prediction).backward()
        assert prediction.grad.isfinite().all()
        assert not prediction.grad[~TARGET.isfinite()].any()
        assert prediction.grad[TARGET.isfinite()].any()


def test_a_batch_without_ratings_has_no_loss():
    objective = Objective([AROUSAL], {"arousal": [Term(1.0, MSE())]})
    assert (
        objective(
            {"arousal": PREDICTION}, torch.zeros(3, 0), np.arange(3), {"arousal": torch.full((3, 4), nan)}
        )
        == {}
    )


def test_a_loss_of_series_gets_them_whole():
    class Shape(nn.Module):
        kind = "series"

        def forward(self, prediction, target):
            assert target.isnan().any()
            return torch.tensor(float(prediction.shape[1]))

    assert loss_of(Term(1.0, Shape())) == 4


def test_diagnostics_are_means_over_the_steps():
    objective = Objective([AROUSAL], {"arousal": [Term(1.0, SoftSpearman())]})
    found = objective.diagnostics({"arousal": PREDICTION}, torch.zeros(3, 0), np.arange(3), {"arousal": TARGET})
    assert list(found) == ["arousal/zero_rank_gradient"]
    assert 0 <= found["arousal/zero_rank_gradient"] <= 1


def test_the_mean_predictor_knows_the_mean_of_the_ratings():
    objective = Objective([AROUSAL], {"arousal": [Term(1.0, MSE())]})
    found = mean_predictor_losses(
        objective,
        np.zeros((5, 0)),
        torch.zeros(3, 0),
        np.arange(3),
        CPU,
        {"arousal": TARGET},
        {"arousal": 0.25},
    )
    assert found["arousal"] == pytest.approx(float((TARGET[TARGET.isfinite()] - 0.25).square().mean()))


class Steps(nn.Module):
    """An embedding per step, and their mean."""

    embedding_size = 3
    sequence_size = 4

    def __init__(self):
        super().__init__()
        self.step, self.whole = nn.Linear(2, 4), nn.Linear(2, 3)

    def forward(self, x, lengths):
        return self.whole(x.sum(1) / lengths[:, None])

    def sequence(self, x, lengths):
        return self.step(x)


def network(*tasks):
    return Network(Steps(), tasks, {task.name: HeadSettings(hidden=[5]) for task in tasks}).eval()


def test_a_series_has_a_rating_for_every_step():
    x, lengths = torch.randn(3, 6, 2), torch.tensor([6, 4, 2])
    both = network(VALENCE, AROUSAL)
    shared, predictions = both(x, lengths)
    assert both.embeddings == ["embedding", "sequence"]
    assert {name: list(values.shape) for name, values in predictions.items()} == {
        "valence": [3],
        "arousal": [3, 6],
    }
    assert list(shared.shape) == [3, 3 + 6 * 4]
    torch.testing.assert_close(predictions["arousal"], both.heads["arousal"](both.backbone.step(x)))
    alone = network(AROUSAL)
    assert alone.embeddings == ["sequence"]
    assert list(alone(x, lengths)[0].shape) == [3, 6, 4]
    assert network(VALENCE).embeddings == ["embedding"]


def test_gradients_of_both_kinds_flow_through_the_shared_embedding():
    both, x, lengths = network(VALENCE, AROUSAL), torch.randn(3, 6, 2), torch.tensor([6, 4, 2])
    parameters = list(both.backbone.parameters())

    def forward():
        shared, predictions = both(x, lengths)
        return shared, {name: values.square().sum() for name, values in predictions.items()}

    expected = [
        torch.autograd.grad(forward()[1][name], parameters, allow_unused=True)
        for name in ("valence", "arousal")
    ]
    shared, losses = forward()
    heads = {name: list(head.parameters()) for name, head in both.heads.items()}
    gradients = Step(shared, parameters, heads, lambda loss: loss).gradients(losses)
    assert len(gradients.parameters) == len(parameters)
    for row, by_parameter in zip(gradients.rows, expected, strict=True):
        whole = [
            torch.zeros_like(one) if grad is None else grad
            for one, grad in zip(parameters, by_parameter, strict=True)
        ]
        torch.testing.assert_close(row, torch.cat([one.flatten() for one in whole]))


def test_a_model_without_steps_is_refused():
    class Whole(nn.Module):
        embedding_size = 3

    with pytest.raises(InputError, match=r"model Whole has no embedding per time step .*'arousal' needs"):
        Network(Whole(), [AROUSAL], {"arousal": HeadSettings()})
