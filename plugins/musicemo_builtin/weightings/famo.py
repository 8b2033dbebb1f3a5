"""The `famo` weighting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from musicemo_builtin.weightings._losses import ByTask, LossWeighting, by_task, check_positive

__all__ = ["FAMO"]

_EPSILON = 1e-8
_BETAS = (0.9, 0.999)

NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class FAMO(LossWeighting):
    """Fast adaptive multitask optimization: weights with which every loss falls at the same relative rate.

        c * sum_t z[t] log(loss[t] - b[t]),  z = softmax(w),  c = 1 / sum_t z[t] / (loss[t] - b[t])

    over the tasks t that have a label in the batch, c treated as constant, b -> `min_losses`. A separate
    Adam optimizer trains the logits w on the gradient of sum_t z[t] d[t] with d[t] = log(loss before - b) -
    log(loss after - b): a task whose loss falls more than the others gets a smaller weight.

    B. Liu, Y. Feng, P. Stone and Q. Liu, "FAMO: Fast Adaptive Multitask Optimization", NeurIPS 2023. There "after" is
    the same batch with the new parameters, ``compare = "same-batch"``. This needs one more forward pass per step, here
    with the same dropout and without updating batch statistics. The default uses the next batch instead, which costs
    nothing. The differences between batches are noise that cancels over steps, because the loss that ends one
    difference begins the next. A task without a label keeps its logit.

    Args:
        tasks: Names of the tasks.
        min_losses: Task -> lower bound of its loss, for every task; default 0.
        lr: Learning rate of w.
        weight_decay: Weight decay of w, as in the paper.
        compare: Batch on which the losses after the step are measured.

    Raises:
        InputError: A loss is below its lower bound; `min_losses` leaves a task out or names an unknown one.
    """

    scale_invariant = True
    positive_losses = True

    def __init__(
        self,
        *,
        tasks: Sequence[str],
        min_losses: ByTask | None = None,
        lr: NonNegative = 0.025,
        weight_decay: NonNegative = 1e-3,
        compare: Literal["next-batch", "same-batch"] = "next-batch",
    ) -> None:
        super().__init__(tasks=tasks)
        bounds = by_task("min_losses", min_losses, self.tasks, 0.0, sign=False)
        self._bounds = dict(zip(self.tasks, bounds, strict=True))
        self.positive_losses = not any(bound < 0 for bound in bounds)
        self.lr, self.weight_decay = lr, weight_decay
        self.remeasures = compare == "same-batch"
        self.bounds: Tensor
        self.logits: Tensor
        self.moments: Tensor
        self.updates: Tensor
        self.before: Tensor
        count = len(self.tasks)
        self.register_buffer("bounds", torch.tensor(bounds), persistent=False)
        self.register_buffer("logits", torch.zeros(count))
        #: Adam's means of the logits' gradient and of its square, and how often they were updated.
        self.register_buffer("moments", torch.zeros(2, count))
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))
        #: Logarithms of the losses that are yet to be compared; NaN where there is none.
        self.register_buffer("before", torch.full((count,), torch.nan))

    def combine(self, losses: Mapping[str, Tensor]) -> Tensor:
        """Return the objective, after the weights have learned from these losses if they are the next batch's."""
        check_positive(losses, self._bounds)
        logarithms = self._logarithms(losses)
        if not self.remeasures:
            self._learn(logarithms)
        self.before = torch.where(logarithms.isnan(), self.before, logarithms)
        order = [index for index, task in enumerate(self.tasks) if task in losses]
        values = torch.stack([losses[self.tasks[index]] for index in order])
        return self.objective(values, slice(None) if len(order) == len(self.tasks) else order)

    def objective(self, losses: Tensor, present: slice | list[int]) -> Tensor:
        """Return the objective of losses `[n]`."""
        shares = self.logits[present].softmax(dim=0)
        above = losses - self.bounds[present] + _EPSILON
        shares = shares / (shares / above.detach()).sum()
        return (shares * above.log()).sum()

    @torch.no_grad()
    def step_finished(self, losses: Mapping[str, Tensor]) -> None:
        """Let the weights learn from the batch's losses after the step, if they are what is compared."""
        if self.remeasures:
            self._learn(self._logarithms(losses))
            self.before.fill_(torch.nan)

    def scalars(self) -> dict[str, float]:
        """Return the epoch's mean of each task's weight, and its logit."""
        logits = zip(self.tasks, self.logits.tolist(), strict=True)
        return super().scalars() | {f"logit/{task}": value for task, value in logits}

    @torch.no_grad()
    def _logarithms(self, losses: Mapping[str, Tensor]) -> Tensor:
        """Return log(loss - b) of every task `[tasks]`; NaN of those without a label."""
        missing = self.before.new_full((), torch.nan)
        values = torch.stack([losses.get(task, missing).to(self.before) for task in self.tasks])
        return (values - self.bounds + _EPSILON).log()

    @torch.no_grad()
    def _learn(self, after: Tensor) -> None:
        """Take a step of Adam on the logits of the tasks whose losses are known now and from before."""
        change = (self.before - after).nan_to_num(0.0)
        present = ~(self.before - after).isnan()
        if not bool(present.any()):
            return
        shares = self.logits.masked_fill(~present, -torch.inf).softmax(dim=0)
        gradient = shares * (change - shares @ change) + self.weight_decay * self.logits
        self.updates += 1
        for moment, value, beta in zip(self.moments, (gradient, gradient**2), _BETAS, strict=True):
            moment.copy_(torch.where(present, moment.lerp(value, 1 - beta), moment))
        number = int(self.updates)
        mean, square = (moment / (1 - beta**number) for moment, beta in zip(self.moments, _BETAS, strict=True))
        self.logits -= torch.where(present, self.lr * mean / (square.sqrt() + _EPSILON), 0.0)
