"""The `ple` sharing architecture, and its layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from musicemo.contracts import Sharing, TaskModules
from musicemo_builtin.sharings._layers import Count, Gate, Sizes, dense

__all__ = ["PLE", "Extraction"]


class PLE(Sharing):
    """Progressive layered extraction: layers of experts that all tasks share and experts of single tasks.

        x[l, k] = sum_i g[l, k, i] [f[l, k](x[l-1, k]), f[l, s](x[l-1, s])][i],  g[l, k] = softmax(W[l, k]
        x[l-1, k]) x[l, s] = sum_i g[l, s, i] [f[l, 1](x[l-1, 1]), ..., f[l, s](x[l-1, s])][i],  g[l, s]
        likewise

    The paths of all tasks k and the shared path s begin with the embedding of a track. In layer l, a task mixes
    its experts f[l, k] and the shared ones f[l, s]; the shared path mixes all experts, and ends before the last
    layer. The representation of task k, the input of its head, is x[l, k] of the last layer. With one layer
    this is `cgc`.

    Only in the last layer are the experts of a task used by it alone. In the others, the shared path mixes
    them, so that the losses of all tasks train them.

    Source: H. Tang, J. Liu, M. Zhao, X. Gong, "Progressive Layered Extraction (PLE): A Novel Multi-Task
    Learning Model for Personalized Recommendations", RecSys 2020. There, the experts get the input features;
    here, the embedding of one backbone.

    Args:
        tasks: Names of the tasks.
        embedding_size: Size of the embedding.
        layers: Number of layers.
        experts: Number of experts of each task in each layer.
        shared_experts: Number of shared experts in each layer.
        hidden: Number of units of each dense layer of an expert. The last one is the size of the
        representations.
    """

    def __init__(
        self,
        *,
        tasks: Sequence[str],
        embedding_size: int,
        layers: Count = 2,
        experts: Count = 1,
        shared_experts: Count = 2,
        hidden: Sizes = [64],  # noqa: B006  # never changed; a list is what TOML has
    ) -> None:
        super().__init__(tasks=tasks, embedding_size=embedding_size)
        self.size = hidden[-1]
        self.layers = nn.ModuleList(
            Extraction(
                tasks,
                embedding_size if layer == 0 else self.size,
                experts,
                shared_experts,
                hidden,
                last=layer == layers - 1,
            )
            for layer in range(layers)
        )

    def forward(self, embedding: Tensor) -> dict[str, Tensor]:
        """Return the representation of each task after the last layer."""
        shared, states = embedding, dict.fromkeys(self.tasks, embedding)
        for layer in self.layers:
            shared, states = layer(shared, states)
        return states


class Extraction(nn.Module):
    """A layer of `PLE`.

    Args:
        tasks: names of the tasks.
        size: size of the inputs.
        experts: number of experts of each task.
        shared_experts: number of shared experts.
        hidden: number of units of each dense layer of an expert.
        last: whether there is no further layer, so that the shared path ends.
    """

    def __init__(
        self,
        tasks: Sequence[str],
        size: int,
        experts: int,
        shared_experts: int,
        hidden: Sequence[int],
        *,
        last: bool,
    ) -> None:
        super().__init__()
        self.shared = nn.ModuleList(dense(size, hidden) for _ in range(shared_experts))
        self.experts = TaskModules(
            {task: nn.ModuleList(dense(size, hidden) for _ in range(experts)) for task in tasks}
        )
        self.gates = TaskModules({task: Gate(size, experts + shared_experts) for task in tasks})
        self.shared_gate = None if last else Gate(size, len(tasks) * experts + shared_experts)

    def forward(self, shared: Tensor, states: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the states of the shared path, which a last layer leaves as it is, and of the tasks."""
        common = [expert(shared) for expert in self.shared]
        by_task: Any = self.experts.items()
        single = {task: [expert(states[task]) for expert in experts] for task, experts in by_task}
        mixed = {task: gate(states[task], [*single[task], *common]) for task, gate in self.gates.items()}
        if self.shared_gate is not None:
            every = [output for outputs in single.values() for output in outputs]
            shared = self.shared_gate(shared, [*every, *common])
        return shared, mixed
