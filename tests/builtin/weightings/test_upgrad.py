import torch
import torchjd.aggregation as torchjd
from musicemo_builtin.weightings.upgrad import UPGrad
from weighting_steps import TASKS, assert_follows, follow, gradients


def test_is_torchjds():
    assert_follows(UPGrad(tasks=TASKS), torchjd.UPGrad())


def test_preference():
    preference = {"energy": 0.2, "danceability": 0.3, "valence": 0.5}
    assert_follows(
        UPGrad(tasks=TASKS, preference=preference),
        torchjd.UPGrad(torch.tensor([0.5, 0.2, 0.3], dtype=torch.float64)),
    )


def test_of_tasks_that_agree_it_is_the_mean():
    rows = torch.tensor([[1.0, 0.0, 0.5], [0.0, 2.0, 0.0], [0.5, 1.0, 0.0]]).double()
    torch.testing.assert_close(follow(UPGrad(tasks=TASKS), rows), rows.mean(dim=0))


def test_of_tasks_with_labels_the_preference_stays():
    preference = {"energy": 0.2, "danceability": 0.3, "valence": 0.5}
    weighting = UPGrad(tasks=TASKS, preference=preference).double()
    rows = gradients()[0, :2]
    expected = torchjd.UPGrad(torch.tensor([0.3, 0.5], dtype=torch.float64))(rows)
    torch.testing.assert_close(follow(weighting, rows, ["danceability", "valence"]), expected)
