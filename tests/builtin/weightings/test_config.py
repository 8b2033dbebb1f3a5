import torch
import torchjd.aggregation as torchjd
from musicemo_builtin.weightings.config import ConFIG
from weighting_steps import TASKS, assert_follows, follow, gradients


def test_is_torchjds():
    assert_follows(ConFIG(tasks=TASKS), torchjd.ConFIG(), weights=False)


def test_preference():
    assert_follows(
        ConFIG(tasks=TASKS, preference=dict(zip(TASKS, (0.5, 0.2, 0.3), strict=True))),
        torchjd.ConFIG(torch.tensor([0.5, 0.2, 0.3], dtype=torch.float64)),
        weights=False,
    )


def test_the_cosine_with_every_gradient_is_the_same():
    rows = gradients()[0]
    cosines = torch.nn.functional.cosine_similarity(rows, follow(ConFIG(tasks=TASKS), rows)[None])
    torch.testing.assert_close(cosines, cosines.mean().expand(3))
    assert cosines.min() > 0
