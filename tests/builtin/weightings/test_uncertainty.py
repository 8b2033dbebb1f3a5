import math

import pytest
import torch
from complaints import any_warnings, warns
from musicemo_builtin.weightings.uncertainty import Uncertainty

TASKS = ("valence", "energy", "danceability")


def losses(*values):
    return {
        task: torch.tensor(value, dtype=torch.float64, requires_grad=True)
        for task, value in zip(TASKS, values, strict=False)
    }


def weighting_at(*values, tasks=TASKS):
    weighting = Uncertainty(tasks=tasks).double()
    with torch.no_grad():
        weighting.log_variance.copy_(torch.tensor(values))
    return weighting


def test_starts_as_the_plain_sum():
    weighting = Uncertainty(tasks=TASKS)
    assert weighting.combine(losses(1.0, 2.0, 4.0)) == 7
    assert weighting.scalars() == {f"weight/{t}": 1.0 for t in TASKS} | {
        f"log_variance/{t}": 0.0 for t in TASKS
    }


def test_initial():
    weighting = Uncertainty(tasks=TASKS, initial=math.log(2))
    torch.testing.assert_close(weighting.combine(losses(1.0, 2.0, 4.0)).item(), 3.5 + 3 * math.log(2))
    assert weighting.scalars()["weight/energy"] == pytest.approx(0.5)


def test_closed_form_of_value_and_gradients():
    s = torch.tensor([0.3, -0.7, 1.1], dtype=torch.float64)
    values = torch.tensor([1.0, 2.0, 4.0], dtype=torch.float64)
    weighting, given = weighting_at(*s.tolist()), losses(*values.tolist())
    objective = weighting.combine(given)
    objective.backward()
    torch.testing.assert_close(objective, (torch.exp(-s) * values + s).sum())
    torch.testing.assert_close(torch.stack([loss.grad for loss in given.values()]), torch.exp(-s))
    torch.testing.assert_close(weighting.log_variance.grad, 1 - torch.exp(-s) * values)


def test_gradient():
    weighting = weighting_at(0.3, -0.7, 1.1)

    def combine(s, *values):
        given = dict(zip(TASKS, values, strict=True))
        return torch.func.functional_call(_Combine(weighting), {"weighting.log_variance": s}, (given,))

    assert torch.autograd.gradcheck(combine, (weighting.log_variance, *losses(1.0, 2.0, 4.0).values()))


class _Combine(torch.nn.Module):
    def __init__(self, weighting):
        super().__init__()
        self.weighting = weighting

    def forward(self, given):
        return self.weighting.combine(given)


def test_the_optimum_is_the_logarithm_of_the_loss():
    weighting = Uncertainty(tasks=TASKS).double()
    values = (0.1, 1.0, 7.0)
    optimizer = torch.optim.SGD(weighting.parameters(), lr=0.3)
    for _ in range(300):
        optimizer.zero_grad()
        weighting.combine(losses(*values)).backward()
        optimizer.step()
    torch.testing.assert_close(weighting.log_variance.detach(), torch.tensor(values, dtype=torch.float64).log())
    assert weighting.scalars()["weight/danceability"] == pytest.approx(1 / 7)


def test_a_task_without_labels_in_the_batch_stays_as_it_is():
    weighting = weighting_at(0.3, -0.7, 1.1)
    given = losses(1.0, 2.0, 4.0)
    del given["energy"]
    objective = weighting.combine(given)
    objective.backward()
    assert objective.item() == pytest.approx(math.exp(-0.3) + 0.3 + 4 * math.exp(-1.1) + 1.1)
    assert weighting.log_variance.grad[1] == 0
    assert (weighting.log_variance.grad[[0, 2]] != 0).all()


def test_permuted_tasks_have_permuted_weights():
    given = losses(1.0, 2.0, 4.0)
    weighting = weighting_at(0.3, -0.7, 1.1)
    reversed_ = weighting_at(1.1, -0.7, 0.3, tasks=TASKS[::-1])
    torch.testing.assert_close(reversed_.combine(given), weighting.combine(given))
    assert reversed_.scalars() == weighting.scalars()


def test_losses_in_another_order_mean_the_same():
    weighting, given = weighting_at(0.3, -0.7, 1.1), losses(1.0, 2.0, 4.0)
    backwards = dict(reversed(given.items()))
    assert torch.equal(weighting.combine(backwards), weighting.combine(given))


def test_state_dict_round_trip():
    weighting, fresh = weighting_at(0.3, -0.7, 1.1), Uncertainty(tasks=TASKS).double()
    fresh.load_state_dict(weighting.state_dict())
    assert fresh.scalars() == weighting.scalars()
    assert [name for name, _ in fresh.named_parameters()] == ["log_variance"]


def test_warns_once_per_task_of_a_negative_loss():
    weighting = Uncertainty(tasks=TASKS)
    with warns(r"'energy' is negative.*no minimum") as caught:
        weighting.combine(losses(1.0, -0.1, 0.0))
    assert len(caught) == 1
    with warns("'valence'") as caught:
        weighting.combine(losses(-1.0, -0.1, 0.0))
    assert len(caught) == 1
    weighting.combine(losses(-1.0, -0.2, 0.0))


@any_warnings()
def test_a_negative_loss_has_no_minimum():
    """What the warning says: s falls by more than the learning rate in each step, and faster and faster."""
    weighting = Uncertainty(tasks=["valence"]).double()
    optimizer = torch.optim.SGD(weighting.parameters(), lr=0.1)
    path = [0.0]
    for _ in range(15):
        optimizer.zero_grad()
        weighting.combine({"valence": torch.tensor(-0.1, dtype=torch.float64)}).backward()
        optimizer.step()
        path.append(weighting.log_variance.item())
    steps = -torch.tensor(path).diff()
    assert (steps > 0.1).all()
    assert (steps.diff() > 0).all()
