import torch
import torchjd.aggregation as torchjd
from musicemo_builtin.weightings.mgda import MGDA
from weighting_steps import TASKS, assert_follows, follow


def test_is_torchjds():
    assert_follows(MGDA(tasks=TASKS, epsilon=1e-5, max_iters=50), torchjd.MGDA(1e-5, 50))


def test_two_gradients_in_closed_form():
    """The point of the segment between them that is nearest to the origin."""
    a, b = torch.tensor([[2.0, 1.0], [-1.0, 3.0]]).double()
    share = ((b - a) @ b / (b - a).square().sum()).clamp(0, 1)
    direction = follow(MGDA(tasks=TASKS[:2]), torch.stack([a, b]))
    torch.testing.assert_close(direction, share * a + (1 - share) * b)


def test_the_smallest_gradient_decides():
    rows = torch.tensor([[5.0, 0.1], [0.1, 0.2], [4.0, 4.0]]).double()
    assert MGDA(tasks=TASKS).weigh(rows, TASKS).argmax() == 1
