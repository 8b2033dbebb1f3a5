import pytest
import torch
from musicemo_builtin.weightings.constant import Constant

from musicemo.contracts import Step
from musicemo.errors import InputError

TASKS = ("valence", "energy", "danceability")


def losses(*values):
    return {task: torch.tensor(value, requires_grad=True) for task, value in zip(TASKS, values, strict=False)}


def test_default_is_the_plain_sum():
    weighting = Constant(tasks=TASKS)
    assert weighting.combine(losses(1.0, 2.0, 4.0)) == 7
    assert weighting.scalars() == {f"weight/{task}": 1.0 for task in TASKS}


def test_weighted_sum_and_its_gradient():
    weights = {"energy": 0.5, "valence": 3.0, "danceability": 0.0}
    weighting = Constant(tasks=TASKS, weights=weights)
    given = losses(1.0, 2.0, 4.0)
    objective = weighting.combine(given)
    objective.backward()
    assert objective == 4
    assert {task: loss.grad.item() for task, loss in given.items()} == weights
    assert weighting.scalars() == {f"weight/{task}": weight for task, weight in weights.items()}


def test_a_task_without_labels_in_the_batch_is_left_out():
    weighting = Constant(tasks=TASKS, weights={"valence": 3.0, "energy": 0.5, "danceability": 1.0})
    assert weighting.combine({"energy": torch.tensor(2.0)}) == 1


def test_permuted_tasks_have_permuted_weights():
    given = losses(1.0, 2.0, 4.0)
    weights = {"valence": 3.0, "energy": 0.5, "danceability": 1.0}
    objectives = [Constant(tasks=tasks, weights=weights).combine(given) for tasks in (TASKS, TASKS[::-1])]
    assert objectives[0] == objectives[1] == 8


def test_backward_reaches_shared_and_head_parameters_through_the_scale():
    shared, head = torch.nn.Parameter(torch.tensor(2.0)), torch.nn.Parameter(torch.tensor(3.0))
    weighting = Constant(tasks=["valence"], weights={"valence": 5.0})
    step = Step(shared, [shared], {"valence": [head]}, scale=lambda objective: 10 * objective)
    assert weighting.backward({"valence": shared * head}, step) == 30
    assert (shared.grad, head.grad) == (150, 100)


def test_has_no_state():
    weighting = Constant(tasks=TASKS)
    assert weighting.state_dict() == {}
    assert list(weighting.parameters()) == []


def test_every_problem_is_named():
    with pytest.raises(InputError) as caught:
        Constant(tasks=TASKS, weights={"valance": 1.0, "energy": 1.0})
    unknown, missing, missing_too = caught.value.problems
    assert "'valance'; did you mean 'valence'?" in unknown
    assert "'valence' has no weight" in missing
    assert "'danceability' has no weight" in missing_too
    assert "(tasks: valence, energy, danceability)" in unknown


def test_weights_of_zero_throughout_are_an_error():
    with pytest.raises(InputError, match="must have a weight above 0"):
        Constant(tasks=TASKS, weights=dict.fromkeys(TASKS, 0.0))
