"""The `excess-mtl` weighting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from musicemo.contracts import GradientWeighting
from musicemo_builtin.weightings._losses import Positive

__all__ = ["ExcessMTL"]

_EPSILON = 1e-7


class ExcessMTL(GradientWeighting):
    """Weights from the excess risk of each task, the part of its loss that training can still remove.

        w[t] <- w[t] exp(eta e[t]), normalized;  e[t] = sum_p g[t,p]^2 / sqrt(s[t,p]),  s the sum of g^2 so far

    with eta -> `robust_step_size`, and e relative to its first value, or to its mean over the first `n_warmup_steps`
    steps, in which the weights are equal. A task without a label in the batch keeps its weight. s needs the memory of
    one backbone per task.

    Without a warm-up, which is the default of torchjd and of the authors' code, the first step uses the absolute e: a
    sum over all parameters, whose exponential gives all weight to one task. A weight of 0 stays 0, so only this task is
    trained from then on. `n_warmup_steps = 1` makes every e relative and the first weights equal.

    Y. He, S. Zhou, G. Zhang, H. Yun, Y. Xu, B. Zeng, T. Chilimbi and H. Zhao, "Robust Multi-Task Learning with Excess
    Risks", ICML 2024. torchjd's version forgets its state if a task is absent, and keeps a part of its state outside
    checkpoints; this version does neither.

    Args:
        tasks: Names of the tasks.
        robust_step_size: Step size of the weights.
        n_warmup_steps: Number of steps with equal weights. The paper uses three epochs; 0 is suitable only for few
            parameters.
    """

    def __init__(
        self,
        *,
        tasks: Sequence[str],
        robust_step_size: Positive = 1.0,
        n_warmup_steps: Annotated[int, Field(ge=0)] = 0,
    ) -> None:
        super().__init__(tasks=tasks)
        self.robust_step_size, self.n_warmup_steps = robust_step_size, n_warmup_steps
        self.weights: Tensor
        self.first: Tensor
        self.steps: Tensor
        count = len(self.tasks)
        self.register_buffer("weights", torch.full((count,), 1 / count))
        #: Excess risk at first, summed over the warm-up, and how many steps every task has had.
        self.register_buffer("first", torch.zeros(count))
        self.register_buffer("steps", torch.zeros(count, dtype=torch.int64))
        #: The sum of squared gradients `[tasks, parameters]`, once their number is known.
        self._squares: Tensor | None
        self.register_buffer("_squares", None, persistent=False)

    def weigh(self, gradients: Tensor, tasks: Sequence[str]) -> Tensor:
        """Return the weights `[tasks]` of the tasks present, which sum to 1."""
        where = [self.tasks.index(task) for task in tasks]
        if self._squares is None:
            self._squares = gradients.new_zeros(len(self.tasks), gradients.shape[1])
        self._squares[where] += gradients**2
        excess = (gradients**2 / (self._squares[where] + _EPSILON).sqrt()).sum(dim=1)
        steps = self.steps[where]
        warming = steps < self.n_warmup_steps
        starting = (steps == 0) & (self.n_warmup_steps == 0)
        self.first[where] += torch.where(warming | starting, excess, 0.0).to(self.first)
        self.steps[where] += 1
        relative = excess / (self.first[where] / max(self.n_warmup_steps, 1) + _EPSILON)
        relative = torch.where(starting, excess, relative).masked_fill(warming, 0.0)
        held = self.weights[where]
        new = (held.log() + self.robust_step_size * relative).softmax(dim=0)
        if not held.any():  # weights so small that they are zero share nothing
            new = torch.full_like(new, 1 / len(tasks))
        self.weights[where] = (new * held.sum()).to(self.weights)
        return new.to(gradients)

    def get_extra_state(self) -> dict[str, Any]:
        """Return the state that has no size before the first step."""
        return {"squares": self._squares}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Continue from a state."""
        squares: Tensor | None = state["squares"]
        self._squares = None if squares is None else squares.clone().to(self.weights.device)
