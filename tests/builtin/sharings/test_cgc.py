import torch
from musicemo_builtin.sharings.cgc import CGC
from musicemo_builtin.sharings.ple import PLE

from musicemo.testing import check_sharing


def test_holds_the_contract():
    check_sharing("cgc")
    check_sharing("cgc", {"experts": 2, "shared_experts": 1, "hidden": [5, 3]})


def test_mixes_the_experts_of_the_task_and_the_shared_ones():
    module, e = CGC(tasks=["a", "b"], embedding_size=3, hidden=[4]), torch.randn(5, 3)
    (layer,) = module.layers
    for task, found in module(e).items():
        gate = layer.gates[task].scores(e).softmax(1)
        outputs = [layer.experts[task][0](e), layer.shared[0](e), layer.shared[1](e)]
        expected = sum(gate[:, i : i + 1] * one for i, one in enumerate(outputs))
        torch.testing.assert_close(found, expected)


def test_only_the_shared_experts_are_shared():
    users = CGC(tasks=["a", "b"], embedding_size=3).users()
    for name, tasks in users.items():
        task = next((one for one in ("a", "b") if f".{one}." in name), None)
        assert tasks == ((task,) if task else ("a", "b")), name
    assert sum(len(tasks) == 2 for tasks in users.values()) == 4


def test_is_ple_with_one_layer():
    cgc, ple = CGC(tasks=["a", "b"], embedding_size=3), PLE(tasks=["a", "b"], embedding_size=3, layers=1)
    ple.load_state_dict(cgc.state_dict())
    e = torch.randn(2, 3)
    assert torch.equal(cgc(e)["b"], ple(e)["b"])
