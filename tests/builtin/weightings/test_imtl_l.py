import pytest
import torch
from complaints import warns
from musicemo_builtin.weightings.imtl_l import IMTLL
from musicemo_builtin.weightings.uncertainty import Uncertainty
from torchjd import scalarization
from weighting_steps import TASKS, combined

VALUES = (0.3, 1.7, 0.2)


def weighting_at(*values):
    weighting = IMTLL(tasks=TASKS).double()
    with torch.no_grad():
        weighting.log_scale.copy_(torch.tensor(values))
    return weighting


def test_is_torchjds():
    theirs = scalarization.IMTLL(3).double()
    with torch.no_grad():
        theirs.log_scale.copy_(torch.tensor([0.3, -0.7, 1.1]))
    expected = theirs(torch.tensor(VALUES).double()).item()
    assert combined(weighting_at(0.3, -0.7, 1.1), *VALUES)[0] == pytest.approx(expected)


def test_is_uncertainty_with_the_sign_turned():
    other = Uncertainty(tasks=TASKS).double()
    with torch.no_grad():
        other.log_variance.copy_(torch.tensor([-0.3, 0.7, -1.1]))
    (ours, weights), (theirs, others) = (combined(w, *VALUES) for w in (weighting_at(0.3, -0.7, 1.1), other))
    assert [ours, *weights] == pytest.approx([theirs, *others])


def test_trained_it_brings_every_loss_to_one():
    weighting = IMTLL(tasks=TASKS).double()
    optimizer = torch.optim.SGD(weighting.parameters(), lr=0.3)
    for _ in range(300):
        optimizer.zero_grad()
        weighting.combine(dict(zip(TASKS, torch.tensor(VALUES).double(), strict=True))).backward()
        optimizer.step()
    told = weighting.scalars()
    scaled = [told[f"weight/{task}"] * value for task, value in zip(TASKS, VALUES, strict=True)]
    assert scaled == pytest.approx([1.0] * 3, rel=1e-3)


def test_a_task_without_labels_in_the_batch_stays_as_it_is():
    weighting = weighting_at(0.3, -0.7, 1.1)
    weighting.combine({"energy": torch.tensor(2.0)}).backward()
    assert weighting.log_scale.grad[[0, 2]].tolist() == [0, 0]
    assert weighting.log_scale.grad[1] != 0


def test_warns_once_per_task_of_a_negative_loss():
    weighting = IMTLL(tasks=TASKS)
    with warns(r"'energy' is negative.*no minimum"):
        combined(weighting, 1.0, -0.1, 0.5)
    combined(weighting, 1.0, -0.1, 0.5)
