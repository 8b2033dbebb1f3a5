"""The `config` weighting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from musicemo_builtin.weightings._torchjd import PreferenceAggregation

__all__ = ["ConFIG"]


class ConFIG(PreferenceAggregation):
    """The direction that has the same cosine with every task's gradient, as long as what the gradients have along it.

        d = (sum_t g[t] . u) u,  u = normalized pinv(U) p,  U the gradients' unit vectors, a row per task

    with p -> `preference`. It is no weighting of the gradients of which weights could be recorded.

    Q. Liu, M. Chu and N. Thuerey, "ConFIG: Towards Conflict-free Training of Physics Informed Neural Networks",
    ICLR 2025.

    Args:
        tasks: Names of the tasks.
        preference: Task -> wanted cosine in proportion, for every task; equal by default.

    Raises:
        InputError: torchjd is not installed; `preference` does not fit the tasks.
    """

    scale_invariant = True
    conflict_free = True

    def make(self, torchjd: Any, tasks: Sequence[str], like: Tensor) -> Any:
        """Return torchjd's `ConFIG`."""
        return torchjd.ConFIG(self.preferred(tasks, like))

    def aggregate(self, gradients: Tensor, tasks: Sequence[str]) -> Tensor:
        """Return the direction `[parameters]`."""
        direction: Tensor = self.solved(self.aggregator(gradients, tasks), gradients)
        return direction
