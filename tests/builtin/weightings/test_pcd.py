import pytest
import torch
import torchjd.aggregation as torchjd
from musicemo_builtin.weightings.pcd import PCD
from weighting_steps import TASKS, assert_follows, follow, gradients

from musicemo.errors import InputError


def test_is_torchjds_step_after_step():
    assert_follows(PCD(tasks=TASKS, tau=0.1, beta=0.9), torchjd.PCD(0.1, 0.9))


def test_another_primary_task():
    weighting, aggregator = PCD(tasks=TASKS, primary="danceability", beta=0.9).double(), torchjd.PCD(beta=0.9)
    for rows in gradients():
        torch.testing.assert_close(follow(weighting, rows), aggregator(rows[[2, 0, 1]]))


def test_where_nothing_conflicts_the_primary_gradient_is_followed():
    rows = torch.tensor([[2.0, 1.0], [1.0, 1.0], [0.0, 3.0]]).double()
    torch.testing.assert_close(follow(PCD(tasks=TASKS), rows), rows[0])


def test_a_task_keeps_its_average_while_it_has_no_label():
    weighting = PCD(tasks=TASKS, beta=0.5).double()
    rows = gradients()
    follow(weighting, rows[0])
    before = weighting.squares.clone()
    follow(weighting, rows[1, :2], TASKS[:2])
    assert weighting.squares[2] == before[2]
    assert (weighting.squares[:2] != before[:2]).all()


def test_an_unknown_primary_task_is_an_error():
    with pytest.raises(InputError, match="no task 'valance'; did you mean 'valence'"):
        PCD(tasks=TASKS, primary="valance")
