"""The `cosmos` weighting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field
from torch import Tensor
from torch.nn.functional import cosine_similarity

from musicemo_builtin.weightings._losses import LossWeighting, WeightsByTask, by_task

__all__ = ["COSMOS"]


class COSMOS(LossWeighting):
    """Weighted sum of the losses minus the cosine of losses and weights, which makes losses proportional to weights.

        sum_t w[t] * loss[t] - c * cos(w, loss)

    over the tasks t that have a label in the batch, with w -> `weights` and c -> `penalty`.

    M. Ruchte and J. Grabocka, "Scalable Pareto Front Approximation for Deep Multi-Objective Learning", ICDM 2021.
    The paper draws a new w in each step and passes it to the network to learn the whole front; here w is constant.

    Args:
        tasks: Names of the tasks.
        penalty: Factor of the cosine; the paper uses 0.01 to 8, depending on the dataset.
        weights: Task -> weight, for every task; 1 each by default.

    Raises:
        InputError: `weights` names an unknown task, leaves a task out, or is zero for all tasks.
    """

    def __init__(
        self,
        *,
        tasks: Sequence[str],
        penalty: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.1,
        weights: WeightsByTask | None = None,
    ) -> None:
        super().__init__(tasks=tasks)
        self.penalty = penalty
        self.weights: Tensor
        self.register_constants(weights=by_task("weights", weights, self.tasks))

    def objective(self, losses: Tensor, present: slice | list[int]) -> Tensor:
        """Return the objective of losses `[n]`."""
        weights = self.weights[present]
        return (weights * losses).sum() - self.penalty * cosine_similarity(weights, losses, dim=0)
