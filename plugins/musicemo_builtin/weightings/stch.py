"""The `stch` weighting."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from musicemo_builtin.weightings._losses import ByTask, LossWeighting, Positive, WeightsByTask, by_task

__all__ = ["STCH"]


class STCH(LossWeighting):
    """Smooth Tchebycheff scalarization: a smooth maximum of the weighted losses.

        mu * log sum_t exp(w[t] (loss[t] - z[t]) / mu)

    over the tasks t that have a label in the batch, with w -> `weights` and z -> `reference`. As mu tends to 0,
    only the largest term is trained; with a large mu all terms are trained, weighted by w. Choose mu by the size of the
    weighted losses.

    X. Lin, X. Zhang, Z. Yang, F. Liu, Z. Wang and Q. Zhang, "Smooth Tchebycheff Scalarization for Multi-Objective
    Optimization", ICML 2024. The paper uses mu of 0.01, 0.1, 0.5 and 1.

    Args:
        tasks: Names of the tasks.
        mu: Smoothing parameter.
        weights: Task -> weight, for every task; default 1 / number of tasks.
        reference: Task -> lowest possible loss, for every task; default 0.

    Raises:
        InputError: `weights` or `reference` names an unknown task or leaves a task out.
    """

    def __init__(
        self,
        *,
        tasks: Sequence[str],
        mu: Positive = 0.1,
        weights: WeightsByTask | None = None,
        reference: ByTask | None = None,
    ) -> None:
        super().__init__(tasks=tasks)
        self.mu = mu
        self.weights: Tensor
        self.reference: Tensor
        self.register_constants(
            weights=by_task("weights", weights, self.tasks, 1 / len(self.tasks)),
            reference=by_task("reference", reference, self.tasks, 0.0, sign=False),
        )

    def objective(self, losses: Tensor, present: slice | list[int]) -> Tensor:
        """Return the smooth maximum of losses `[n]`."""
        weighted = self.weights[present] * (losses - self.reference[present])
        return self.mu * torch.logsumexp(weighted / self.mu, dim=0)
