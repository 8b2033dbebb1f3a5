import pytest
import torch
import torchjd.aggregation as torchjd
from musicemo_builtin.weightings.excess_mtl import ExcessMTL
from weighting_steps import TASKS, assert_follows, follow, gradients


@pytest.mark.parametrize("warmup", [0, 2])
def test_is_torchjds_step_after_step(warmup):
    assert_follows(
        ExcessMTL(tasks=TASKS, robust_step_size=0.3, n_warmup_steps=warmup), torchjd.ExcessMTL(0.3, warmup)
    )


def test_a_task_without_a_label_keeps_its_weight():
    weighting = ExcessMTL(tasks=TASKS, robust_step_size=0.1).double()
    rows = gradients()
    follow(weighting, rows[0])
    before = weighting.weights.clone()
    follow(weighting, rows[1, :2], TASKS[:2])
    assert weighting.weights[2] == before[2]
    assert (weighting.weights[:2] != before[:2]).all()
    torch.testing.assert_close(weighting.weights.sum(), torch.tensor(1.0).double())


def test_what_it_remembers_without_a_size_beforehand_is_in_its_state():
    weighting, again = (ExcessMTL(tasks=TASKS).double() for _ in range(2))
    rows = gradients()
    follow(weighting, rows[0])
    again.load_state_dict(weighting.state_dict())
    assert torch.equal(follow(weighting, rows[1]), follow(again, rows[1]))


def test_a_warm_up_of_a_step_keeps_a_backbone_from_giving_one_task_everything():
    rows = torch.stack([torch.ones(1000), torch.full((1000,), 0.1)])
    sudden, gradual = (ExcessMTL(tasks=TASKS[:2], n_warmup_steps=steps) for steps in (0, 1))
    for weighting in (sudden, gradual):
        for _ in range(3):
            follow(weighting, rows, TASKS[:2])
    assert sudden.weights.tolist() == [1, 0]
    torch.testing.assert_close(gradual.weights, torch.full((2,), 0.5), rtol=1e-3, atol=1e-3)


def test_a_task_whose_weight_has_vanished_is_heard_in_a_batch_of_its_own():
    weighting = ExcessMTL(tasks=TASKS[:2])
    rows = torch.stack([torch.ones(1000), torch.full((1000,), 0.1)])
    follow(weighting, rows, TASKS[:2])
    assert weighting.weights.tolist() == [1, 0]
    assert torch.equal(follow(weighting, rows[1:], TASKS[1:2]), rows[1])
    assert weighting.weights.tolist() == [1, 0]
