"""The `sonatina-slowest` weighting."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from musicemo.contracts import Weighting


class Slowest(Weighting):
    """Weighs each task by its loss over its first one: what has come down least counts most.

    Args:
        tasks: Names of the tasks.
    """

    def __init__(self, *, tasks: Sequence[str]) -> None:
        super().__init__(tasks=tasks)
        self.register_buffer("first", torch.zeros(len(self.tasks)))

    def combine(self, losses: Mapping[str, Tensor]) -> Tensor:
        """Return the weighted sum."""
        terms = []
        for index, task in enumerate(self.tasks):
            if task in losses:
                first = self.first[index]
                terms.append(losses[task] * (losses[task].detach() / first if first > 0 else 1.0))
        return torch.stack(terms).sum()

    @torch.no_grad()
    def step_finished(self, losses: Mapping[str, Tensor]) -> None:
        """Remember the first loss of each task."""
        for index, task in enumerate(self.tasks):
            if task in losses and self.first[index] == 0:
                self.first[index] = losses[task]

    def scalars(self) -> dict[str, float]:
        """Return the first losses."""
        return {f"first/{task}": float(first) for task, first in zip(self.tasks, self.first, strict=True)}
