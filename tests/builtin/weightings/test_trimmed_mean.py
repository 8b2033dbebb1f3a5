import pytest
import torch
import torchjd.aggregation as torchjd
from musicemo_builtin.weightings.trimmed_mean import TrimmedMean
from weighting_steps import TASKS, assert_follows, follow, gradients

from musicemo.errors import InputError


def test_is_torchjds():
    assert_follows(TrimmedMean(tasks=TASKS), torchjd.TrimmedMean(1), weights=False)


def test_of_three_it_is_the_median():
    rows = gradients()[0]
    torch.testing.assert_close(follow(TrimmedMean(tasks=TASKS), rows), rows.median(dim=0).values)


def test_a_batch_with_too_few_tasks_is_averaged():
    rows = gradients()[0, :2]
    torch.testing.assert_close(follow(TrimmedMean(tasks=TASKS), rows, TASKS[1:]), rows.mean(dim=0))


def test_too_few_tasks_are_an_error():
    with pytest.raises(InputError, match="trim_number = 2 needs 5 tasks or more; there are 3"):
        TrimmedMean(tasks=TASKS, trim_number=2)
