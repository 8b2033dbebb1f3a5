"""The `dualproj` weighting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from musicemo_builtin.weightings._torchjd import PreferenceAggregation

__all__ = ["DualProj"]


class DualProj(PreferenceAggregation):
    """The mean gradient, projected onto the cone of directions that conflict with no task.

        the closest to sum_t p[t] g[t] of all d with g[i] . d >= 0 for every task i

    with p -> `preference`.

    D. Lopez-Paz and M. Ranzato, "Gradient Episodic Memory for Continual Learning", NeurIPS 2017: the projection of
    its equation 11, which protects earlier tasks there.

    Args:
        tasks: Names of the tasks.
        preference: Task -> weight p of its gradient, for every task; default 1 / number of tasks.

    Raises:
        InputError: torchjd or its solver is not installed; `preference` does not fit the tasks.
    """

    conflict_free = True
    requires = ("qpsolvers", "quadprog")

    def make(self, torchjd: Any, tasks: Sequence[str], like: Tensor) -> Any:
        """Return torchjd's `DualProj`."""
        return torchjd.DualProj(self.preferred(tasks, like))
