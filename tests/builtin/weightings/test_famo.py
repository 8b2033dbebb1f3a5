import pytest
import torch
from musicemo_builtin.weightings.famo import FAMO
from torchjd import scalarization
from weighting_steps import TASKS, combined

from musicemo.errors import InputError

VALUES = torch.rand(8, 3, generator=torch.Generator().manual_seed(0)).double() + 0.1


def given(values, tasks=TASKS):
    return dict(zip(tasks, values, strict=True))


@pytest.mark.slow
def test_on_the_same_batch_it_is_torchjds_step_after_step():
    ours = FAMO(tasks=TASKS, lr=0.1, weight_decay=0.01, compare="same-batch").double()
    theirs = scalarization.FAMO(3, lr=0.1, weight_decay=0.01).double()
    assert ours.remeasures
    for before, after in zip(VALUES[::2], VALUES[1::2], strict=True):
        assert combined(ours, *before.tolist())[0] == pytest.approx(theirs(before).item())
        ours.step_finished(given(after))
        theirs.update(after)
        torch.testing.assert_close(ours.logits, theirs._w.detach())
    assert ours.logits.abs().min() > 0.01


def test_on_the_next_batch_it_is_torchjds_with_that_batchs_losses():
    ours, theirs = FAMO(tasks=TASKS, lr=0.1).double(), scalarization.FAMO(3, lr=0.1).double()
    assert not ours.remeasures
    for number, values in enumerate(VALUES):
        if number:
            theirs.update(values)
        assert combined(ours, *values.tolist())[0] == pytest.approx(theirs(values).item())
        ours.step_finished(given(values))


def test_lower_bounds():
    bounds = torch.tensor([0.05, 0.0, 0.09]).double()
    ours = FAMO(tasks=TASKS, min_losses=given(bounds.tolist())).double()
    theirs = scalarization.FAMO(3, min_losses=bounds).double()
    assert combined(ours, *VALUES[0].tolist())[0] == pytest.approx(theirs(VALUES[0]).item())


def test_at_first_every_gradient_is_divided_by_its_loss_and_weights_sum_to_one():
    weights = combined(FAMO(tasks=TASKS), 1.0, 2.0, 4.0)[1]
    assert weights == pytest.approx([4 / 7, 2 / 7, 1 / 7])


def test_what_falls_fastest_comes_to_weigh_less():
    weighting = FAMO(tasks=TASKS).double()
    for step in range(20):
        combined(weighting, 1.0, 0.99**step, 0.5**step)
    told = weighting.scalars()
    assert told["logit/valence"] > told["logit/energy"] > told["logit/danceability"]


def test_a_task_without_a_label_is_compared_when_it_has_one_again():
    weighting = FAMO(tasks=TASKS, weight_decay=0.0).double()
    combined(weighting, 1.0, 1.0, 1.0)
    combined(weighting, 1.0, 1.0, tasks=TASKS[1:])
    assert weighting.logits.tolist() == [0, 0, 0]
    combined(weighting, 0.1, 1.0, 1.0)
    assert weighting.logits.argmin() == 0


def test_its_optimizer_is_in_its_state_and_nothing_of_it_is_trained_elsewhere():
    weighting, again = FAMO(tasks=TASKS), FAMO(tasks=TASKS)
    assert not list(weighting.parameters())
    for values in VALUES[:4]:
        combined(weighting, *values.tolist())
    again.double().load_state_dict(weighting.state_dict())
    for each in (weighting, again):
        for values in VALUES[4:]:
            combined(each, *values.tolist())
    assert torch.equal(weighting.logits, again.logits)


def test_a_loss_below_its_bound_is_an_error_that_names_its_task():
    with pytest.raises(InputError, match="'energy' is -1: negative"):
        combined(FAMO(tasks=TASKS), 1.0, -1.0, 1.0)
    weighting = FAMO(tasks=TASKS, min_losses=dict.fromkeys(TASKS, -0.5))
    assert not weighting.positive_losses
    combined(weighting, 1.0, -0.4, 1.0)
    with pytest.raises(InputError, match=r"'energy' is -1: below its lower bound -0\.5"):
        combined(weighting, 1.0, -1.0, 1.0)


def test_a_task_without_a_label_neither_gains_nor_loses():
    weighting = FAMO(tasks=TASKS, lr=0.1)
    for step in range(30):
        loss = torch.tensor(0.9**step, requires_grad=True)
        weighting.combine(dict.fromkeys(TASKS if step < 1 else TASKS[:2], loss))
    assert weighting.logits.tolist() == pytest.approx([0, 0, 0], abs=1e-6)
