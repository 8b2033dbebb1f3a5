"""The `hard` sharing architecture."""

from __future__ import annotations

from torch import Tensor

from musicemo.contracts import Sharing

__all__ = ["Hard"]


class Hard(Sharing):
    """Hard parameter sharing: the head of every task gets the embedding as it is.

    There are no parameters: the tasks share the backbone, and each has its head.

    Source: R. Caruana, "Multitask Learning", Machine Learning, 1997.
    """

    def forward(self, embedding: Tensor) -> dict[str, Tensor]:
        """Return the embedding for every task."""
        return dict.fromkeys(self.tasks, embedding)
