import torch
from musicemo_builtin.sharings.cross_stitch import CrossStitch

from musicemo.testing import check_sharing

TASKS = ["a", "b", "c"]


def test_holds_the_contract():
    check_sharing("cross-stitch")
    check_sharing("cross-stitch", {"hidden": [5], "same": 0.5})


def test_mixes_the_columns_after_each_layer():
    module, e = CrossStitch(tasks=TASKS, embedding_size=3, hidden=[4, 2], same=0.7), torch.randn(5, 3)
    states = dict.fromkeys(TASKS, e)
    for layer in range(2):
        outputs = {task: module.columns[layer][task](states[task]).relu() for task in TASKS}
        states = {
            task: sum((0.7 if other == task else 0.15) * outputs[other] for other in TASKS) for task in TASKS
        }
    for task, found in module(e).items():
        torch.testing.assert_close(found, states[task])


def test_without_mixing_the_columns_are_separate_networks():
    module, e = CrossStitch(tasks=TASKS, embedding_size=3, hidden=[4], same=1.0), torch.randn(5, 3)
    for task, found in module(e).items():
        assert torch.equal(found, module.columns[0][task](e).relu())


def test_all_tasks_share_the_columns_and_each_has_its_last_stitches():
    users = CrossStitch(tasks=TASKS, embedding_size=3).users()
    assert {name: tasks for name, tasks in users.items() if len(tasks) < 3} == {
        f"stitches.1.{task}.weights": (task,) for task in TASKS
    }
