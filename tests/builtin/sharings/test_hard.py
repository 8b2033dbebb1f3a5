import torch
from musicemo_builtin.sharings.hard import Hard

from musicemo.testing import check_sharing


def test_holds_the_contract():
    check_sharing("hard")


def test_gives_every_task_the_embedding():
    hard, e = Hard(tasks=["a", "b"], embedding_size=3), torch.randn(2, 3)
    assert hard.size == 3
    assert not hard.state_dict()
    represented = hard(e)
    assert list(represented) == ["a", "b"]
    assert all(one is e for one in represented.values())
