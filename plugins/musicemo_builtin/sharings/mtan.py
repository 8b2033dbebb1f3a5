"""The `mtan` sharing architecture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from musicemo.contracts import Sharing, TaskModules
from musicemo_builtin.sharings._layers import Sizes, dense

__all__ = ["MTAN"]


class MTAN(Sharing):
    """Multi-task attention network: every task selects units of shared layers with soft masks of its own.

        u[l] = relu(U[l] p[l-1] + b[l]),  p[l] = relu(P[l] u[l] + c[l])
        x[l, k] = a[l, k] * p[l],  a[l, k] = sigmoid(H[l, k] relu(G[l, k] [u[l], x[l-1, k]]))

    p[0] is the embedding of a track; G and H have biases, and x[0, k] is empty. The representation of task k,
    the input of its head, is x[l, k] of the last block l. All tasks use U and P; only task k uses G[l, k] and
    H[l, k].

    Source: S. Liu, E. Johns, A. J. Davison, "End-to-End Multi-Task Learning with Attention", CVPR 2019. There,
    the masks are on the convolutions of the backbone, with batch normalization, and a further layer is between
    x[l-1, k] and the next mask; here, they are on dense layers after the embedding, which works with every
    model.

    Args:
        tasks: Names of the tasks.
        embedding_size: Size of the embedding.
        hidden: Number of units of both layers of each block. The last one is the size of the representations.
    """

    def __init__(
        self,
        *,
        tasks: Sequence[str],
        embedding_size: int,
        hidden: Sizes = [64, 64],  # noqa: B006  # never changed; a list is what TOML has
    ) -> None:
        super().__init__(tasks=tasks, embedding_size=embedding_size)
        self.size = hidden[-1]
        inputs = [embedding_size, *hidden]
        before = [0, *hidden]
        self.first = nn.ModuleList(dense(size, [units]) for size, units in zip(inputs, hidden, strict=False))
        self.second = nn.ModuleList(dense(units, [units]) for units in hidden)
        self.masks = nn.ModuleList(
            TaskModules(
                {
                    task: nn.Sequential(*dense(units + of_task, [units]), nn.Linear(units, units), nn.Sigmoid())
                    for task in tasks
                }
            )
            for of_task, units in zip(before, hidden, strict=False)
        )

    def forward(self, embedding: Tensor) -> dict[str, Tensor]:
        """Return the selection of each task after the last block."""
        shared, states = embedding, dict.fromkeys(self.tasks, embedding[..., :0])
        masks: Any
        for first, second, masks in zip(self.first, self.second, self.masks, strict=True):
            used = first(shared)
            shared = second(used)
            states = {
                task: mask(torch.cat([used, states[task]], dim=-1)) * shared for task, mask in masks.items()
            }
        return states
