import torch
from musicemo_builtin.sharings.mtan import MTAN
from torch import nn

from musicemo.testing import check_sharing


def test_holds_the_contract():
    check_sharing("mtan")
    check_sharing("mtan", {"hidden": [5, 4, 3]})


def test_selects_units_of_the_shared_layers():
    module, e = MTAN(tasks=["a", "b"], embedding_size=3, hidden=[4, 2]), torch.randn(5, 3)
    shared, states = e, {"a": e[:, :0], "b": e[:, :0]}
    for first, second, masks in zip(module.first, module.second, module.masks, strict=True):
        used = first[0](shared).relu()
        shared = second[0](used).relu()
        for task in states:
            inner = masks[task][0](torch.cat([used, states[task]], dim=1)).relu()
            states[task] = masks[task][2](inner).sigmoid() * shared
    for task, found in module(e).items():
        torch.testing.assert_close(found, states[task])


def test_masks_of_zeros_select_half_of_each_unit():
    module, e = MTAN(tasks=["a", "b"], embedding_size=3, hidden=[4]), torch.randn(5, 3)
    nn.init.zeros_(module.masks[0]["a"][2].weight)
    nn.init.zeros_(module.masks[0]["a"][2].bias)
    torch.testing.assert_close(module(e)["a"], module.second[0](module.first[0](e)) / 2)


def test_all_tasks_share_the_layers_and_each_has_its_masks():
    users = MTAN(tasks=["a", "b"], embedding_size=3).users()
    for name, tasks in users.items():
        assert tasks == ((name.split(".")[2],) if name.startswith("masks") else ("a", "b")), name
