import pytest
import torch
from musicemo_builtin.weightings.cosmos import COSMOS
from torchjd import scalarization
from weighting_steps import TASKS, combined

VALUES = (0.3, 1.7, 0.2)


def test_is_torchjds():
    weights = (1.0, 0.5, 2.0)
    expected = scalarization.COSMOS(0.7, torch.tensor(weights).double())(torch.tensor(VALUES).double()).item()
    weighting = COSMOS(tasks=TASKS, penalty=0.7, weights=dict(zip(TASKS, weights, strict=True)))
    assert combined(weighting, *VALUES)[0] == pytest.approx(expected)


def test_without_a_penalty_it_is_the_weighted_sum():
    assert combined(COSMOS(tasks=TASKS, penalty=0.0), *VALUES)[1] == pytest.approx([1.0] * 3)


def test_the_penalty_favours_what_is_too_large_for_the_proportion():
    plain, bent = (combined(COSMOS(tasks=TASKS, penalty=p), *VALUES)[1] for p in (0.0, 0.5))
    assert bent[1] > plain[1]
    assert bent[2] < plain[2]
