import pytest
import torch
from musicemo_builtin.sharings.groups import Groups

from musicemo.errors import InputError
from musicemo.testing import check_sharing

TASKS = ["a", "b", "c"]


def test_holds_the_contract():
    check_sharing("groups")
    check_sharing("groups", {"groups": [["valence"]], "hidden": [5, 3], "dropout": 0.5})


def test_the_tasks_of_a_group_share_its_layers():
    module, e = Groups(tasks=TASKS, embedding_size=3, groups=[["c", "a"]], hidden=[4]), torch.randn(5, 3)
    represented = module(e)
    assert torch.equal(represented["a"], represented["c"])
    for task, name in (("a", "c+a"), ("b", "b")):
        torch.testing.assert_close(represented[task], module.layers[name][0](e).relu())
    assert set(module.users().values()) == {("a", "c"), ("b",)}


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ([["a", "d"]], r"groups: 'd' is not a task \(tasks: a, b, c\)"),
        ([["a", "b"], ["b"]], "groups: 'b' is in 2 groups, but must be in one"),
    ],
)
def test_a_task_is_in_one_group(groups, message):
    with pytest.raises(InputError, match=message):
        Groups(tasks=TASKS, embedding_size=3, groups=groups)
