"""The `mmoe` sharing architecture."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from musicemo.contracts import Sharing, TaskModules
from musicemo_builtin.sharings._layers import Count, Gate, Sizes, dense

__all__ = ["MMoE"]


class MMoE(Sharing):
    """Multi-gate mixture of experts: every task mixes the same experts with a gate of its own.

        h[k] = sum_i g[k, i] f[i](e),  g[k] = softmax(W[k] e)

    With e the embedding of a track, h[k] is the representation of task k, the input of its head. Each of the n
    experts f[i] has dense layers with ReLU. All tasks use the experts; only task k uses W[k].

    Source: J. Ma, Z. Zhao, X. Yi, J. Chen, L. Hong, E. H. Chi, "Modeling Task Relationships in Multi-task
    Learning with Multi-gate Mixture-of-Experts", KDD 2018. There, the experts get the input features; here, the
    embedding of one backbone, which works with every model and needs no copies of it.

    Args:
        tasks: Names of the tasks.
        embedding_size: Size of the embedding.
        experts: Number of experts n.
        hidden: Number of units of each dense layer of an expert. The last one is the size of the
        representations.
    """

    def __init__(
        self,
        *,
        tasks: Sequence[str],
        embedding_size: int,
        experts: Count = 4,
        hidden: Sizes = [64],  # noqa: B006  # never changed; a list is what TOML has
    ) -> None:
        super().__init__(tasks=tasks, embedding_size=embedding_size)
        self.size = hidden[-1]
        self.experts = nn.ModuleList(dense(embedding_size, hidden) for _ in range(experts))
        self.gates = TaskModules({task: Gate(embedding_size, experts) for task in tasks})

    def forward(self, embedding: Tensor) -> dict[str, Tensor]:
        """Return the mixture of each task."""
        outputs = [expert(embedding) for expert in self.experts]
        return {task: gate(embedding, outputs) for task, gate in self.gates.items()}
