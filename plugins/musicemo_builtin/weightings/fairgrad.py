"""The `fairgrad` weighting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field
from torch import Tensor

from musicemo_builtin.weightings._torchjd import Aggregation

__all__ = ["FairGrad"]


class FairGrad(Aggregation):
    """Fair resource allocation: the step whose improvements per task maximize alpha-fairness.

        (G w)[t] = w[t]^(-1 / alpha),  w > 0,  G the gradients' Gramian

    alpha = 1 is proportional fairness, the solution of `nash-mtl`. alpha = 0 gives the mean gradient. A large alpha
    favors the task that improves least.

    H. Ban and K. Ji, "Fair Resource Allocation in Multi-Task Learning", ICML 2024.

    Args:
        tasks: Names of the tasks.
        alpha: Exponent of the fairness.
        max_iters: Maximum number of iterations of the solver; default 100 per task.

    Raises:
        InputError: torchjd is not installed.
    """

    def __init__(
        self,
        *,
        tasks: Sequence[str],
        alpha: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0,
        max_iters: Annotated[int, Field(ge=1)] | None = None,
    ) -> None:
        super().__init__(tasks=tasks)
        self.alpha, self.max_iters = alpha, max_iters
        self.scale_invariant = alpha == 1
        self.conflict_free = alpha > 0

    def make(self, torchjd: Any, tasks: Sequence[str], like: Tensor) -> Any:
        """Return torchjd's `FairGrad`."""
        return torchjd.FairGrad(self.alpha, self.max_iters)
