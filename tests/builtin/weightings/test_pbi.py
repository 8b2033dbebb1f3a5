import pytest
import torch
from musicemo_builtin.weightings.pbi import PBI
from torchjd import scalarization
from weighting_steps import TASKS, combined

VALUES = (0.3, 1.7, 0.2)


def test_is_torchjds():
    weights, reference = (1.0, 0.5, 2.0), (0.1, 0.0, 0.05)
    expected = scalarization.PBI(2.0, torch.tensor(weights).double(), torch.tensor(reference).double())
    weighting = PBI(
        tasks=TASKS,
        theta=2.0,
        weights=dict(zip(TASKS, weights, strict=True)),
        reference=dict(zip(TASKS, reference, strict=True)),
    )
    given = torch.tensor(VALUES).double()
    assert combined(weighting, *VALUES)[0] == pytest.approx(expected(given).item())


def test_on_the_direction_there_is_nothing_to_penalize():
    objective, weights = combined(PBI(tasks=TASKS, theta=5.0), 2.0, 2.0, 2.0)
    assert objective == pytest.approx(2 * 3**0.5, abs=1e-5)
    assert weights == pytest.approx([3**-0.5] * 3)


def test_a_task_that_weighs_nothing_may_be_alone_in_a_batch():
    weighting = PBI(tasks=TASKS, weights={"valence": 0.0, "energy": 1.0, "danceability": 1.0})
    objective, weights = combined(weighting, 1.0, tasks=TASKS[:1])
    assert torch.tensor([objective, *weights]).isfinite().all()
