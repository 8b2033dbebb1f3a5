import pytest
import torch
import torchjd.aggregation as torchjd
from musicemo_builtin.weightings.cr_mogm import CRMOGM
from weighting_steps import TASKS, assert_follows, follow, gradients


@pytest.mark.parametrize(
    ("of", "inner"),
    [
        ("mgda", lambda: torchjd.MGDAWeighting()),
        ("pcgrad", lambda: torchjd.PCGradWeighting()),
        ("upgrad", lambda: torchjd.UPGradWeighting()),
        ("cagrad", lambda: torchjd.CAGradWeighting(0.5)),
    ],
)
def test_is_torchjds_step_after_step(of, inner):
    smoothed = torchjd.CRMOGMWeighting(inner(), alpha=0.7)
    assert_follows(CRMOGM(tasks=TASKS, of=of, alpha=0.7), torchjd.GramianWeightedAggregator(smoothed))


def test_the_average_of_a_task_without_a_label_stays():
    weighting = CRMOGM(tasks=TASKS).double()
    rows = gradients()
    follow(weighting, rows[0, :2], TASKS[:2])
    assert weighting.weights.isnan().tolist() == [False, False, True]
    before = weighting.weights[0].clone()
    follow(weighting, rows[1, 1:], TASKS[1:])
    assert weighting.weights[0] == before
    assert not weighting.weights.isnan().any()


def test_chance_is_the_others():
    assert CRMOGM(tasks=TASKS, of="pcgrad").stochastic
    assert not CRMOGM(tasks=TASKS, of="mgda").stochastic


def test_smoothed_weights_vary_less():
    def spread(alpha):
        weighting = CRMOGM(tasks=TASKS, alpha=alpha).double()
        return torch.stack([weighting.weigh(rows, TASKS) for rows in gradients(steps=20)]).std(dim=0).sum()

    assert spread(0.9) < 0.5 * spread(0.0)
