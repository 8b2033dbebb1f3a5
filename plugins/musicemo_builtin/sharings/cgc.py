"""The `cgc` sharing architecture."""

from __future__ import annotations

from collections.abc import Sequence

from musicemo_builtin.sharings._layers import Count, Sizes
from musicemo_builtin.sharings.ple import PLE

__all__ = ["CGC"]


class CGC(PLE):
    """Customized gate control: every task mixes experts of its own and experts that all tasks share.

        h[k] = sum_i g[k, i] [f[k](e), f[s](e)][i],  g[k] = softmax(W[k] e)

    With e the embedding of a track, h[k] is the representation of task k, the input of its head. f[k] are the
    experts of task k and f[s] the shared ones, each of dense layers with ReLU. All tasks use f[s]; only task k
    uses f[k] and W[k].

    Source: H. Tang, J. Liu, M. Zhao, X. Gong, "Progressive Layered Extraction (PLE): A Novel Multi-Task
    Learning Model for Personalized Recommendations", RecSys 2020. There, the experts get the input features;
    here, the embedding of one backbone.

    Args:
        tasks: Names of the tasks.
        embedding_size: Size of the embedding.
        experts: Number of experts of each task.
        shared_experts: Number of shared experts.
        hidden: Number of units of each dense layer of an expert. The last one is the size of the
        representations.
    """

    def __init__(
        self,
        *,
        tasks: Sequence[str],
        embedding_size: int,
        experts: Count = 1,
        shared_experts: Count = 2,
        hidden: Sizes = [64],  # noqa: B006  # never changed; a list is what TOML has
    ) -> None:
        super().__init__(
            tasks=tasks,
            embedding_size=embedding_size,
            layers=1,
            experts=experts,
            shared_experts=shared_experts,
            hidden=hidden,
        )
