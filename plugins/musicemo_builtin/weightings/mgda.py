"""The `mgda` weighting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field
from torch import Tensor

from musicemo_builtin.weightings._losses import Positive
from musicemo_builtin.weightings._torchjd import Aggregation

__all__ = ["MGDA"]


class MGDA(Aggregation):
    """Multiple-gradient descent: the weighted mean of the task gradients with the smallest norm.

        min_w |sum_t w[t] g[t]|,  w >= 0,  sum_t w[t] = 1

    It conflicts with no task, and is zero where no step improves all tasks. Small gradients dominate.

    J.-A. Desideri, "Multiple-Gradient Descent Algorithm (MGDA) for Multiobjective Optimization", Comptes Rendus
    Mathematique, 2012; the Frank-Wolfe solver is that of O. Sener and V. Koltun, "Multi-Task Learning as
    Multi-Objective Optimization", NeurIPS 2018.

    Args:
        tasks: Names of the tasks.
        epsilon: Step size at which the solver stops.
        max_iters: Maximum number of iterations of the solver.

    Raises:
        InputError: torchjd is not installed.
    """

    conflict_free = True

    def __init__(
        self,
        *,
        tasks: Sequence[str],
        epsilon: Positive = 0.001,
        max_iters: Annotated[int, Field(ge=1)] = 100,
    ) -> None:
        super().__init__(tasks=tasks)
        self.epsilon, self.max_iters = epsilon, max_iters

    def make(self, torchjd: Any, tasks: Sequence[str], like: Tensor) -> Any:
        """Return torchjd's `MGDA`."""
        return torchjd.MGDA(self.epsilon, self.max_iters)
