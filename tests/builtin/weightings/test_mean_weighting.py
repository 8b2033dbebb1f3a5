from musicemo_builtin.weightings.mean import Mean
from torchjd import scalarization
from weighting_steps import TASKS, combined


def test_is_the_mean_of_what_has_a_label():
    assert combined(Mean(tasks=TASKS), 1.0, 2.0, 6.0) == (3.0, [1 / 3] * 3)
    assert combined(Mean(tasks=TASKS), 1.0, 2.0, tasks=TASKS[1:]) == (1.5, [0.5, 0.5])


def test_is_torchjds():
    import torch

    assert scalarization.Mean()(torch.tensor([1.0, 2.0, 6.0])) == combined(Mean(tasks=TASKS), 1.0, 2.0, 6.0)[0]
