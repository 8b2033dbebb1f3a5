import pytest
import torch
from musicemo_builtin.weightings.random import Random
from torchjd import scalarization
from weighting_steps import TASKS, combined


def test_is_torchjds():
    torch.manual_seed(3)
    objective, weights = combined(Random(tasks=TASKS), 1.0, 2.0, 4.0)
    torch.manual_seed(3)
    assert scalarization.Random()(torch.tensor([1.0, 2.0, 4.0]).double()).item() == pytest.approx(objective)
    assert sum(weights) == pytest.approx(1.0)
    assert min(weights) > 0


@pytest.mark.slow
def test_every_step_has_other_weights_and_all_tasks_come_to_the_same():
    drawn = torch.tensor([combined(Random(tasks=TASKS), 1.0, 2.0, 4.0)[1] for _ in range(2000)])
    assert drawn.std(dim=0).min() > 0.1
    torch.testing.assert_close(drawn.mean(dim=0), torch.full((3,), 1 / 3), rtol=0.05, atol=0)
