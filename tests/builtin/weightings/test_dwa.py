import pytest
import torch
from musicemo_builtin.weightings.dwa import DWA
from torchjd import scalarization
from weighting_steps import TASKS, combined

from musicemo.errors import InputError


def test_is_torchjds_epoch_after_epoch():
    ours, theirs = DWA(tasks=TASKS, temperature=1.5), scalarization.DWA(1.5)
    for values in torch.rand(5, 3, generator=torch.Generator().manual_seed(0)).double() + 0.1:
        expected = theirs(values).item()
        assert combined(ours, *values.tolist())[0] == pytest.approx(expected)
        theirs.step()
        ours.epoch_finished(dict(zip(TASKS, values.tolist(), strict=True)))


def test_what_falls_slowly_weighs_more_and_weights_sum_to_their_number():
    weighting = DWA(tasks=TASKS)
    weighting.epoch_finished({"valence": 1.0, "energy": 1.0, "danceability": 1.0})
    assert combined(weighting, 1.0, 1.0, 1.0)[1] == [1.0] * 3
    weighting.epoch_finished({"valence": 0.9, "energy": 0.5, "danceability": 0.1})
    weights = combined(weighting, 1.0, 1.0, 1.0)[1]
    assert weights == sorted(weights, reverse=True)
    assert sum(weights) == pytest.approx(3)


def test_a_task_whose_loss_is_not_known_of_both_epochs_counts_as_unchanged():
    weighting = DWA(tasks=TASKS)
    weighting.epoch_finished({"valence": 1.0, "energy": 1.0})
    weighting.epoch_finished({"valence": 1.0, "energy": 1.0, "danceability": 0.1})
    assert combined(weighting, 1.0, 1.0, 1.0)[1] == pytest.approx([1.0] * 3)


def test_its_history_is_in_its_state():
    weighting, again = DWA(tasks=TASKS), DWA(tasks=TASKS)
    for losses in ((1.0, 2.0, 3.0), (0.5, 1.9, 0.1)):
        weighting.epoch_finished(dict(zip(TASKS, losses, strict=True)))
    again.load_state_dict(weighting.state_dict())
    for each in (weighting, again):
        each.epoch_finished(dict(zip(TASKS, (0.4, 1.8, 0.05), strict=True)))
    assert torch.equal(weighting.weights, again.weights)
    assert weighting.weights.unique().numel() == 3


def test_losses_of_zero_leave_the_weights_finite():
    weighting = DWA(tasks=TASKS)
    weighting.epoch_finished({"valence": 0.0, "energy": 0.0, "danceability": 1.0})
    weighting.epoch_finished({"valence": 0.0, "energy": 1.0, "danceability": 1.0})
    assert weighting.weights.tolist() == pytest.approx([1.0] * 3)


def test_a_negative_loss_is_an_error_that_names_its_task():
    with pytest.raises(InputError, match="'energy' is -1: negative"):
        DWA(tasks=TASKS).epoch_finished({"energy": -1.0})
