"""The `upgrad` weighting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from musicemo_builtin.weightings._torchjd import PreferenceAggregation

__all__ = ["UPGrad"]


class UPGrad(PreferenceAggregation):
    """Mean of the task gradients, each projected onto the cone of directions that conflict with no task.

        sum_t p[t] pi(g[t]),  pi(g) the closest to g of all d with g[i] . d >= 0 for every task i

    with p -> `preference`. To first order, no loss rises. Larger gradients have more influence.

    P. Quinton and V. Rey, "Jacobian Descent for Multi-Objective Optimization", 2024.

    Args:
        tasks: Names of the tasks.
        preference: Task -> weight p of its projection, for every task; default 1 / number of tasks.

    Raises:
        InputError: torchjd or its solver is not installed; `preference` does not fit the tasks.
    """

    conflict_free = True
    requires = ("qpsolvers", "quadprog")

    def make(self, torchjd: Any, tasks: Sequence[str], like: Tensor) -> Any:
        """Return torchjd's `UPGrad`."""
        return torchjd.UPGrad(self.preferred(tasks, like))
