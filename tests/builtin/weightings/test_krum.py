import pytest
import torch
import torchjd.aggregation as torchjd
from musicemo_builtin.weightings.krum import Krum
from weighting_steps import TASKS, follow, gradients

from musicemo.errors import InputError

FIVE = ("a", "b", "c", "d", "e")


def test_is_torchjds():
    weighting, aggregator = Krum(tasks=FIVE, n_byzantine=1, n_selected=2), torchjd.Krum(1, 2)
    for rows in gradients(tasks=5):
        torch.testing.assert_close(follow(weighting, rows), aggregator(rows))


def test_what_stands_apart_is_not_heard():
    rows = torch.tensor([[1.0, 1.0], [50.0, -50.0], [1.1, 1.0]]).double()
    weighting = Krum(tasks=TASKS, n_selected=2)
    torch.testing.assert_close(follow(weighting, rows), rows[[0, 2]].mean(dim=0))
    assert weighting.scalars() == {"weight/valence": 0.5, "weight/energy": 0.0, "weight/danceability": 0.5}


def test_of_equal_scores_the_first_in_the_alphabet_is_taken():
    """Of three gradients the two nearest to each other always have one score."""
    rows = torch.tensor([[1.0, 1.0], [1.1, 1.0], [9.0, 9.0]]).double()
    torch.testing.assert_close(follow(Krum(tasks=TASKS), rows), rows[1])
    torch.testing.assert_close(follow(Krum(tasks=TASKS), rows[[1, 0, 2]]), rows[0])


def test_a_batch_with_too_few_tasks_is_averaged():
    rows = gradients()[0, :2]
    torch.testing.assert_close(follow(Krum(tasks=TASKS), rows, TASKS[1:]), rows.mean(dim=0))


@pytest.mark.parametrize("parameters", [{"n_byzantine": 1}, {"n_selected": 4}])
def test_too_few_tasks_are_an_error(parameters):
    with pytest.raises(InputError, match="need 4 tasks or more; there are 3"):
        Krum(tasks=TASKS, **parameters)
