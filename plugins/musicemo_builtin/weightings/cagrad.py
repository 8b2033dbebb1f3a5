"""The `cagrad` weighting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field
from torch import Tensor

from musicemo_builtin.weightings._torchjd import Aggregation

__all__ = ["CAGrad"]


class CAGrad(Aggregation):
    """Conflict-averse gradient descent: the direction near the mean gradient that maximizes the smallest improvement.

        max_d min_t g[t] . d,  |d - g0| <= c |g0|,  g0 the mean of the g[t]

    c = 0 gives the mean gradient. For c >= 1 the direction conflicts with no task.

    B. Liu, X. Liu, X. Jin, P. Stone and Q. Liu, "Conflict-Averse Gradient Descent for Multi-task Learning", NeurIPS
    2021. The paper uses c from 0.2 to 0.5.

    Args:
        tasks: Names of the tasks.
        c: Maximum distance from the mean gradient, relative to its norm.
        norm_eps: Norm of the combined normalized gradients below which the direction is zero.

    Raises:
        InputError: torchjd or its solver is not installed.
    """

    requires = ("cvxpy", "clarabel")

    def __init__(
        self,
        *,
        tasks: Sequence[str],
        c: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.5,
        norm_eps: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0001,
    ) -> None:
        super().__init__(tasks=tasks)
        self.c, self.norm_eps = c, norm_eps
        self.conflict_free = c >= 1

    def make(self, torchjd: Any, tasks: Sequence[str], like: Tensor) -> Any:
        """Return torchjd's `CAGrad`."""
        return torchjd.CAGrad(self.c, self.norm_eps)
