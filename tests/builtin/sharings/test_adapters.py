import torch
from musicemo_builtin.sharings.adapters import Adapters
from torch import nn

from musicemo.testing import check_sharing


def test_holds_the_contract():
    check_sharing("adapters")
    check_sharing("adapters", {"bottleneck": 1})


def test_begins_with_hard_sharing():
    module, e = Adapters(tasks=["a", "b"], embedding_size=3), torch.randn(5, 3)
    assert all(torch.equal(found, e) for found in module(e).values())


def test_adds_a_correction_of_each_task():
    module, e = Adapters(tasks=["a", "b"], embedding_size=3, bottleneck=2), torch.randn(5, 3)
    first, _, last = module.adapters["b"]
    nn.init.normal_(last.weight)
    torch.testing.assert_close(module(e)["b"], e + last(first(e).relu()))
    assert torch.equal(module(e)["a"], e)


def test_nothing_of_an_adapter_is_shared():
    users = Adapters(tasks=["a", "b"], embedding_size=3).users()
    assert set(users.values()) == {("a",), ("b",)}
