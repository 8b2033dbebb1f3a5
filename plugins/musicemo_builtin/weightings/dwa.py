"""The `dwa` weighting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from musicemo_builtin.weightings._losses import LossWeighting, Positive, check_positive

__all__ = ["DWA"]


class DWA(LossWeighting):
    """Dynamic weight average: tasks whose loss falls slowly get larger weights.

        sum_t w[t] * loss[t],  w = K softmax(r / T),  r[t] = L[t](e - 1) / L[t](e - 2)

    over the tasks t that have a label in the batch, of K tasks; L[t](e) is the task's training loss over epoch e and
    T -> `temperature`. In the first two epochs, and for a task without a loss in both epochs, r is 1.

    S. Liu, E. Johns and A. J. Davison, "End-to-End Multi-Task Learning with Attention", CVPR 2019. There L is the
    mean over the batches of an epoch; here it is computed on the whole epoch, which differs for a correlation.

    Args:
        tasks: Names of the tasks.
        temperature: Temperature of the softmax; larger values give more equal weights.

    Raises:
        InputError: A task's loss over an epoch is negative.
    """

    positive_losses = True

    def __init__(self, *, tasks: Sequence[str], temperature: Positive = 2.0) -> None:
        super().__init__(tasks=tasks)
        self.temperature = temperature
        self.epochs: Tensor
        #: Losses of the epoch before last and of the last, `[2, tasks]`; NaN where unknown.
        self.register_buffer("epochs", torch.full((2, len(self.tasks)), torch.nan, dtype=torch.float64))
        self.weights: Tensor
        self.register_buffer("weights", torch.ones(len(self.tasks)))

    def objective(self, losses: Tensor, present: slice | list[int]) -> Tensor:
        """Return the weighted sum of losses `[n]`."""
        return (self.weights[present] * losses).sum()

    @torch.no_grad()
    def epoch_finished(self, losses: Mapping[str, float]) -> None:
        """Compute the weights of the next epoch from the losses of this one."""
        check_positive({task: torch.tensor(loss) for task, loss in losses.items()})
        latest = [losses.get(task, torch.nan) for task in self.tasks]
        self.epochs.copy_(torch.stack([self.epochs[1], self.epochs.new_tensor(latest)]))
        rates = (self.epochs[1] / self.epochs[0]).nan_to_num(1.0, posinf=1.0)
        self.weights.copy_(len(self.tasks) * (rates / self.temperature).softmax(dim=0))
