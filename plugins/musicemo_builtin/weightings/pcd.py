"""The `pcd` weighting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from musicemo.errors import InputError, nearest
from musicemo_builtin.weightings._torchjd import Aggregation

__all__ = ["PCD"]


class PCD(Aggregation):
    """Priority-constrained descent: the direction nearest to one task's gradient that improves every other task.

        min_d |d - n[p]|,  n[t] . d >= tau |n[t]|^2 for every other task t,  n[t] = g[t] / sqrt(v[t] + eps)

    scaled to the norm of g[p]; p -> `primary` and v[t] a moving average of |g[t]|^2 with decay `beta`. If the batch
    has no label of p, the first task with a label takes its place. torchjd documents the case without a solution.

    "Not All Objectives Are Born Equal: Priority-Constrained Descent for Hierarchical Multi-Objective Optimization",
    TMLR 2026.

    Args:
        tasks: Names of the tasks.
        primary: Primary task; default the first task of the experiment.
        tau: Minimum improvement of the other tasks, from 0 to 1, relative to following their own gradient.
        beta: Decay of the moving average.
        eps: Constant added to the averages.

    Raises:
        InputError: torchjd is not installed; `primary` is not a task.
    """

    scale_invariant = True

    def __init__(
        self,
        *,
        tasks: Sequence[str],
        primary: str | None = None,
        tau: Annotated[float, Field(ge=0, le=1)] = 0.02,
        beta: Annotated[float, Field(ge=0, lt=1)] = 0.999,
        eps: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1e-8,
    ) -> None:
        super().__init__(tasks=tasks)
        if primary is not None and primary not in self.tasks:
            raise InputError(
                f"primary: there is no task {primary!r}{nearest(primary, self.tasks)} "
                f"(tasks: {', '.join(self.tasks)})"
            )
        self.primary = primary or self.tasks[0]
        self.tau, self.beta, self.eps = tau, beta, eps
        self.squares: Tensor
        self.steps: Tensor
        #: Means of the squared norms, freed of their bias towards 0; NaN of tasks that had no label yet.
        self.register_buffer("squares", torch.full((len(self.tasks),), torch.nan, dtype=torch.float64))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def make(self, torchjd: Any, tasks: Sequence[str], like: Tensor) -> Any:
        """Return torchjd's `PCD`."""
        return torchjd.PCD(self.tau, self.beta, self.eps)

    def weigh(self, gradients: Tensor, tasks: Sequence[str]) -> Tensor:
        """Return torchjd's weights `[tasks]`, the primary task put first and the averages of these for its state."""
        order = sorted(range(len(tasks)), key=lambda index: tasks[index] != self.primary)
        sorted_ = gradients[order]
        inner = self.aggregator(gradients, tasks).gramian_weighting
        where = torch.tensor([self.tasks.index(tasks[index]) for index in order], device=self.squares.device)
        squares = self.squares[where].cpu()
        now = sorted_.double().square().sum(dim=1).cpu()
        steps = int(self.steps)
        # torchjd keeps averages that are biased towards 0, and divides the bias, by the steps so far, out again.
        inner._sq_norm_ema = torch.where(squares.isnan(), now, squares) * (1 - self.beta**steps)
        inner._n_steps, inner._state_key = torch.tensor(steps), len(tasks)
        weights: Tensor = self.solved(self.aggregator(gradients, tasks).weighting, sorted_)
        self.steps += 1
        self.squares[where] = (inner._sq_norm_ema / (1 - self.beta ** (steps + 1))).to(self.squares)
        original = torch.empty_like(weights)
        original[order] = weights
        return original
