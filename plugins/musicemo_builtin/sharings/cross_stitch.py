"""The `cross-stitch` sharing architecture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn

from musicemo.contracts import Sharing, TaskModules
from musicemo_builtin.sharings._layers import Sizes

__all__ = ["CrossStitch"]


class CrossStitch(Sharing):
    """Cross-stitch network: a column of dense layers per task, whose outputs are mixed linearly after each layer.

        h[l, k] = sum_j a[l, k, j] z[l, j],  z[l, k] = relu(W[l, k] h[l-1, k] + b[l, k])

    All columns begin with the embedding of a track. The representation of task k, the input of its head, is h[l, k] of
    the last layer. The stitches a are trained: a[l, k, k] begins with `same`, and those of the other columns begin with
    equal parts of the rest to 1. All tasks use the columns, since they are mixed; only task k uses a[l, k] of the last
    layer.

    Source: I. Misra, A. Shrivastava, A. Gupta, M. Hebert, "Cross-stitch Networks for Multi-task Learning", CVPR
    2016. There, the columns are whole networks; here, they follow the embedding of one backbone, which works
    with every model and needs no copies of it.

    Args:
        tasks: Names of the tasks.
        embedding_size: Size of the embedding.
        hidden: Number of units of each layer of a column. The last one is the size of the representations.
        same: Initial weight of the column of the task itself.
    """

    def __init__(
        self,
        *,
        tasks: Sequence[str],
        embedding_size: int,
        hidden: Sizes = [64, 64],  # noqa: B006  # never changed; a list is what TOML has
        same: Annotated[float, Field(ge=0, le=1)] = 0.9,
    ) -> None:
        super().__init__(tasks=tasks, embedding_size=embedding_size)
        self.size = hidden[-1]
        sizes = [embedding_size, *hidden]
        self.columns = nn.ModuleList(
            TaskModules({task: nn.Linear(inputs, outputs) for task in tasks})
            for inputs, outputs in zip(sizes, hidden, strict=False)
        )
        self.stitches = nn.ModuleList(
            TaskModules({task: Stitch(index, len(tasks), same) for index, task in enumerate(tasks)})
            for _ in hidden
        )

    def forward(self, embedding: Tensor) -> dict[str, Tensor]:
        """Return the mixture of each task after the last layer."""
        states = dict.fromkeys(self.tasks, embedding)
        columns: Any
        stitches: Any
        for columns, stitches in zip(self.columns, self.stitches, strict=True):
            outputs = [column(states[task]).relu() for task, column in columns.items()]
            stacked = torch.stack(outputs, dim=-1)
            states = {task: stitch(stacked) for task, stitch in stitches.items()}
        return states


class Stitch(nn.Module):
    """The sum of the outputs of the columns, with a trained weight for each.

    Args:
        index: number of the task's own column.
        columns: number of columns.
        same: initial weight of the task's own column.
    """

    def __init__(self, index: int, columns: int, same: float) -> None:
        super().__init__()
        weights = torch.full((columns,), (1 - same) / max(columns - 1, 1))
        weights[index] = same if columns > 1 else 1.0
        self.weights = nn.Parameter(weights)

    def forward(self, outputs: Tensor) -> Tensor:
        """Return `[..., hidden]` from `[..., hidden, columns]`."""
        return outputs @ self.weights
