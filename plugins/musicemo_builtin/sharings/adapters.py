"""The `adapters` sharing architecture."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from musicemo.contracts import Sharing, TaskModules
from musicemo_builtin.sharings._layers import Count, dense

__all__ = ["Adapters"]


class Adapters(Sharing):
    """Task-specific adapters: every task adds a small correction to the embedding.

        h[k] = e + V[k] relu(U[k] e + b[k]) + c[k]

    With e the embedding of a track, h[k] is the representation of task k, the input of its head. U[k] has
    `bottleneck` rows. V[k] and c[k] are zero at first, so that training begins with hard sharing. An adapter is
    used by its task only: the tasks share the backbone.

    Source: N. Houlsby and others, "Parameter-Efficient Transfer Learning for NLP", ICML 2019. There, the
    adapters are inside a network that is frozen; here, they follow the embedding, and the backbone is trained
    with them.

    Args:
        tasks: Names of the tasks.
        embedding_size: Size of the embedding, and of the representations.
        bottleneck: Number of units of an adapter.
    """

    def __init__(self, *, tasks: Sequence[str], embedding_size: int, bottleneck: Count = 16) -> None:
        super().__init__(tasks=tasks, embedding_size=embedding_size)
        self.adapters = TaskModules(
            {
                task: nn.Sequential(*dense(embedding_size, [bottleneck]), nn.Linear(bottleneck, embedding_size))
                for task in tasks
            }
        )
        for adapter in self.adapters.values():
            last = adapter[-1]  # type: ignore[index]  # a Sequential
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    def forward(self, embedding: Tensor) -> dict[str, Tensor]:
        """Return the corrected embedding of each task."""
        return {task: embedding + adapter(embedding) for task, adapter in self.adapters.items()}
