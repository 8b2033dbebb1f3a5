import numpy as np
import torch
from musicemo_builtin.sharings.mmoe import MMoE

from musicemo.testing import check_sharing


def softmax(x):
    return np.exp(x) / np.exp(x).sum(axis=-1, keepdims=True)


def test_holds_the_contract():
    check_sharing("mmoe")
    check_sharing("mmoe", {"experts": 1, "hidden": [5, 3]})


def test_mixes_the_experts_with_the_gate_of_each_task():
    module, e = MMoE(tasks=["a", "b"], embedding_size=3, experts=2, hidden=[4]), torch.randn(5, 3)
    w = {name: value.numpy() for name, value in module.state_dict().items()}
    x = e.numpy()
    outputs = [np.maximum(x @ w[f"experts.{i}.0.weight"].T + w[f"experts.{i}.0.bias"], 0) for i in range(2)]
    for task, found in module(e).items():
        gate = softmax(x @ w[f"gates.{task}.scores.weight"].T)
        expected = gate[:, :1] * outputs[0] + gate[:, 1:] * outputs[1]
        np.testing.assert_allclose(found.detach().numpy(), expected, atol=1e-5)


def test_all_tasks_share_the_experts_and_each_has_its_gate():
    users = MMoE(tasks=["a", "b"], embedding_size=3, experts=2).users()
    assert {name: tasks for name, tasks in users.items() if len(tasks) == 1} == {
        "gates.a.scores.weight": ("a",),
        "gates.b.scores.weight": ("b",),
    }
    assert sum(tasks == ("a", "b") for tasks in users.values()) == 4
