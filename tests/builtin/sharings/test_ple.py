import torch
from musicemo_builtin.sharings.ple import PLE

from musicemo.testing import check_sharing


def test_holds_the_contract():
    check_sharing("ple")
    check_sharing("ple", {"layers": 3, "experts": 2, "shared_experts": 1, "hidden": [4]})


def test_the_shared_path_mixes_all_experts():
    module, e = PLE(tasks=["a", "b"], embedding_size=3, shared_experts=1, hidden=[4]), torch.randn(5, 3)
    first, second = module.layers

    def mixed(gate, x, *outputs):
        weights = gate.scores(x).softmax(1)
        return sum(weights[:, i : i + 1] * one for i, one in enumerate(outputs))

    own = {task: first.experts[task][0](e) for task in ("a", "b")}
    common = first.shared[0](e)
    shared = mixed(first.shared_gate, e, own["a"], own["b"], common)
    for task, found in module(e).items():
        x = mixed(first.gates[task], e, own[task], common)
        expected = mixed(second.gates[task], x, second.experts[task][0](x), second.shared[0](shared))
        torch.testing.assert_close(found, expected)


def test_the_experts_of_a_task_are_shared_but_in_the_last_layer():
    users = PLE(tasks=["a", "b"], embedding_size=3).users()
    single = {name for name, tasks in users.items() if len(tasks) == 1}
    assert single == {
        *(f"layers.0.gates.{task}.scores.weight" for task in "ab"),  # of the input of the task's next experts
        *(f"layers.1.gates.{task}.scores.weight" for task in "ab"),
        *(f"layers.1.experts.{task}.0.0.{kind}" for task in "ab" for kind in ("weight", "bias")),
    }


def test_with_three_layers_the_gates_before_them_are_shared_too():
    users = PLE(tasks=["a", "b"], embedding_size=3, layers=3).users()
    assert users["layers.0.gates.a.scores.weight"] == ("a", "b")
    assert users["layers.1.gates.a.scores.weight"] == ("a",)
