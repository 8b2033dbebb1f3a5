"""The `groups` sharing architecture."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from musicemo.contracts import Sharing, TaskModules
from musicemo.errors import InputError
from musicemo_builtin.sharings._layers import Count, Sizes

__all__ = ["Groups"]


class Groups(Sharing):
    """Groups of tasks: the tasks of a group share dense layers, and different groups share none.

        h[k] = f[g(k)](e)

    With e the embedding of a track, and g(k) the group of task k, h[k] is the representation of task k, the input
    of its head. Each layer of f is dropout(relu(W x + b)). A task in no group has layers of its own. With the model
    `mlp` and `hidden = []`, which has no parameters, each group is trained as a network of its own; without groups,
    each task is.

    Args:
        tasks: Names of the tasks.
        embedding_size: Size of the embedding.
        groups: Names of the tasks of each group.
        hidden: Number of units of each layer. The last one is the size of the representations.
        dropout: Dropout probability after each layer.

    Raises:
        InputError: a name is not a task, or is in two groups.
    """

    def __init__(
        self,
        *,
        tasks: Sequence[str],
        embedding_size: int,
        groups: list[Annotated[list[str], Field(min_length=1)]] = [],  # noqa: B006  # never changed; TOML has lists
        hidden: Sizes = [64],  # noqa: B006  # likewise
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0,
    ) -> None:
        super().__init__(tasks=tasks, embedding_size=embedding_size)
        self.size = hidden[-1]
        for task, count in Counter(task for group in groups for task in group).items():
            if task not in tasks:
                raise InputError(f"groups: {task!r} is not a task (tasks: {', '.join(tasks)})")
            if count > 1:
                raise InputError(f"groups: {task!r} is in {count} groups, but must be in one")
        grouped = {task: "+".join(group) for group in groups for task in group}
        self.group_of = {task: grouped.get(task, task) for task in tasks}
        self.layers = TaskModules(
            {name: _layers(embedding_size, hidden, dropout) for name in dict.fromkeys(self.group_of.values())}
        )

    def forward(self, embedding: Tensor) -> dict[str, Tensor]:
        """Return the output of its group's layers for each task."""
        outputs = {name: layers(embedding) for name, layers in self.layers.items()}
        return {task: outputs[self.group_of[task]] for task in self.tasks}


def _layers(size: int, hidden: Sequence[Count], dropout: float) -> nn.Sequential:
    layers = nn.Sequential()
    for inputs, outputs in zip([size, *hidden], hidden, strict=False):
        layers.extend([nn.Linear(inputs, outputs), nn.ReLU(), nn.Dropout(dropout)])
    return layers
