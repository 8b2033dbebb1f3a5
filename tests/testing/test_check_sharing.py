"""`check_sharing`: which clause each kind of mistake breaks."""

import re
from pathlib import Path

import pytest
import torch
from torch import nn

from musicemo.contracts import Sharing, TaskModules
from musicemo.testing import ContractError, check_sharing


class Scaled(Sharing):
    """A layer that all tasks share, and one per task."""

    def __init__(self, *, tasks, embedding_size):
        super().__init__(tasks=tasks, embedding_size=embedding_size)
        self.common = nn.Linear(embedding_size, embedding_size)
        self.single = TaskModules({task: nn.Linear(embedding_size, embedding_size) for task in tasks})

    def forward(self, embedding):
        common = self.common(embedding)
        return {task: layer(common) for task, layer in self.single.items()}


class NoSize(Scaled):
    def __init__(self, *, tasks, embedding_size):
        super().__init__(tasks=tasks, embedding_size=embedding_size)
        self.size = 0


class NotAll(Scaled):
    def forward(self, embedding):
        return dict(list(super().forward(embedding).items())[:1])


class WrongSize(Scaled):
    def forward(self, embedding):
        return {task: one[..., 1:] for task, one in super().forward(embedding).items()}


class Infinite(Scaled):
    def forward(self, embedding):
        return {task: one / embedding.abs().sum() for task, one in super().forward(embedding).items()}


class Noisy(Scaled):
    def forward(self, embedding):
        return {task: one + torch.rand(1) for task, one in super().forward(embedding).items()}


class Normalized(Scaled):
    def forward(self, embedding):
        return {task: one - one.mean(dim=0) for task, one in super().forward(embedding).items()}


class Detached(Scaled):
    def forward(self, embedding):
        return super().forward(embedding.detach())


class Unused(Scaled):
    def __init__(self, *, tasks, embedding_size):
        super().__init__(tasks=tasks, embedding_size=embedding_size)
        self.more = nn.Linear(2, 2)


class Claiming(Scaled):
    def users(self):
        return {name: tasks[:1] for name, tasks in super().users().items()}


class Plain(Scaled):
    def __init__(self, *, tasks, embedding_size):
        super().__init__(tasks=tasks, embedding_size=embedding_size)
        self.scale = torch.ones(1)


class Numbered(Scaled):
    def __init__(self, *, tasks, embedding_size):
        super().__init__(tasks=tasks, embedding_size=embedding_size)
        self.single = nn.ModuleList(nn.Linear(embedding_size, embedding_size) for _ in tasks)

    def forward(self, embedding):
        common = self.common(embedding)
        return {task: layer(common) for task, layer in zip(self.tasks, self.single, strict=True)}


def test_a_correct_one_passes():
    check_sharing(Scaled)


@pytest.mark.parametrize(
    ("sharing", "clause"),
    [
        (NoSize, "construction"),
        (NotAll, "shape"),
        (WrongSize, "shape"),
        (Infinite, "finite"),
        (Noisy, "evaluation"),
        (Normalized, "rows"),
        (Detached, "gradients"),
        (Unused, "users"),
        (Claiming, "users"),
        (Plain, "device"),
        (Numbered, "names"),
    ],
)
def test_a_mistake_breaks_its_clause(sharing, clause):
    with pytest.raises(ContractError) as caught:
        check_sharing(sharing)
    assert clause in caught.value.problems


def test_what_the_page_shows_holds_the_contract(tmp_path, monkeypatch):
    page = Path(__file__).parents[2] / "docs" / "sharing.md"
    code, check = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    (tmp_path / "my_sharing.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    exec(f"from my_sharing import Normalized\n{check}", {})
