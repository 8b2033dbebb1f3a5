"""The `pcgrad` weighting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from musicemo_builtin.weightings._torchjd import Aggregation

__all__ = ["PCGrad"]


class PCGrad(Aggregation):
    """Sum of the task gradients after removing from each its conflicting components, in random order.

        g[i] <- g[i] - min(0, g[i] . g[j]) / |g[j]|^2 g[j]  for every j, then sum_i g[i]

    T. Yu, S. Kumar, A. Gupta, S. Levine, K. Hausman and C. Finn, "Gradient Surgery for Multi-Task Learning", NeurIPS
    2020.

    Args:
        tasks: Names of the tasks.

    Raises:
        InputError: torchjd is not installed.
    """

    stochastic = True

    def make(self, torchjd: Any, tasks: Sequence[str], like: Tensor) -> Any:
        """Return torchjd's `PCGrad`."""
        return torchjd.PCGrad()
