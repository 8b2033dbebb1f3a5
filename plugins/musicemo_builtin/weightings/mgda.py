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
    """The shortest vector among all weighted means of the tasks' gradients: multiple-gradient descent.

        min_w |sum_t w[t] g[t]|,  w >= 0,  sum_t w[t] = 1

    It opposes no task, and vanishes where no step improves every one; the task with the smallest gradient decides.

    J.-A. Desideri, "Multiple-Gradient Descent Algorithm (MGDA) for Multiobjective Optimization", Comptes Rendus
    Mathematique, 2012; the Frank-Wolfe solver is that of O. Sener and V. Koltun, "Multi-Task Learning as
    Multi-Objective Optimization", NeurIPS 2018.

    Args:
        tasks: Names of the tasks.
        epsilon: The solver stops at a step below this.
        max_iters: The solver stops after as many steps.

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
