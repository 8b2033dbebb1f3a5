"""The `pbi` weighting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from musicemo_builtin.weightings._losses import ByTask, LossWeighting, WeightsByTask, by_task

__all__ = ["PBI"]

#: Under the root, so that its derivative stays finite where the losses lie on the direction.
_EPSILON = 1e-12


class PBI(LossWeighting):
    """Penalty-based boundary intersection: distance of the losses along a direction, plus a penalty off it.

        d1 + theta * d2,  d1 = (loss - z) . u,  d2 = |loss - z - d1 u|,  u = w / |w|

    over the tasks that have a label in the batch, with w -> `weights` and z -> `reference`. A large theta makes
    the losses proportional to w, even if one of them must rise.

    Q. Zhang and H. Li, "MOEA/D: A Multiobjective Evolutionary Algorithm Based on Decomposition", IEEE Transactions
    on Evolutionary Computation, 2007. There theta is 5, for evolutionary search; gradient descent
    needs a smaller value.

    Args:
        tasks: Names of the tasks.
        theta: Penalty of the distance from the direction.
        weights: Task -> weight, for every task; default 1.
        reference: Task -> lowest possible loss, for every task; default 0.

    Raises:
        InputError: `weights` or `reference` names an unknown task or leaves a task out.
    """

    def __init__(
        self,
        *,
        tasks: Sequence[str],
        theta: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.5,
        weights: WeightsByTask | None = None,
        reference: ByTask | None = None,
    ) -> None:
        super().__init__(tasks=tasks)
        self.theta = theta
        self.weights: Tensor
        self.reference: Tensor
        self.register_constants(
            weights=by_task("weights", weights, self.tasks),
            reference=by_task("reference", reference, self.tasks, 0.0, sign=False),
        )

    def objective(self, losses: Tensor, present: slice | list[int]) -> Tensor:
        """Return the objective of losses `[n]`."""
        weights = self.weights[present]
        direction = weights / weights.norm().clamp_min(_EPSILON)
        shifted = losses - self.reference[present]
        along: Tensor = shifted @ direction
        off = shifted - along * direction
        return along + self.theta * torch.sqrt(off @ off + _EPSILON)
