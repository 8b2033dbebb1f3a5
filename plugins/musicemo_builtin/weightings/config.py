"""The `config` weighting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from musicemo_builtin.weightings._torchjd import PreferenceAggregation

__all__ = ["ConFIG"]


class ConFIG(PreferenceAggregation):
    """The direction that has the same cosine with the gradient of every task.

        d = (sum_t g[t] . u) u,  u = normalized pinv(U) p,  U the unit vectors of the gradients, one row per task

    with p -> `preference`. It is not a weighted sum of the gradients, so no weights are recorded.

    Q. Liu, M. Chu and N. Thuerey, "ConFIG: Towards Conflict-free Training of Physics Informed Neural Networks",
    ICLR 2025.

    Args:
        tasks: Names of the tasks.
        preference: Task -> relative cosine, for every task; default equal.

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
