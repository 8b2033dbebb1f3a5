"""The `imtl-l` weighting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from musicemo_builtin.weightings._losses import LossWeighting, warn_of_negative

__all__ = ["IMTLL"]

_NO_MINIMUM = "exp(s) * loss - s then has no minimum, s grows without bound and the task's weight explodes"


class IMTLL(LossWeighting):
    """Loss balance of impartial multitask learning: trained factors that scale the loss of every task to 1.

        sum_t exp(s[t]) * loss[t] - s[t]

    over the tasks t that have a label in the batch, with s -> `log_scale`, one parameter per task, initially 0 and
    trained by the optimizer of the experiment. It is `uncertainty` with the opposite sign of s. A negative loss has no
    minimum and causes a warning.

    L. Liu, Y. Li, Z. Kuang, J.-H. Xue, Y. Chen, W. Yang, Q. Liao and W. Zhang, "Towards Impartial Multi-Task
    Learning", ICLR 2021.

    Args:
        tasks: Names of the tasks.
    """

    def __init__(self, *, tasks: Sequence[str]) -> None:
        super().__init__(tasks=tasks)
        self.log_scale = nn.Parameter(torch.zeros(len(self.tasks)))
        self._warned: set[str] = set()

    def combine(self, losses: Mapping[str, Tensor]) -> Tensor:
        """Return the sum of the scaled losses less the parameters."""
        warn_of_negative(losses, self._warned, _NO_MINIMUM)
        return super().combine(losses)

    def objective(self, losses: Tensor, present: slice | list[int]) -> Tensor:
        """Return the objective of losses `[n]`."""
        s = self.log_scale[present]
        return (torch.exp(s) * losses - s).sum()

    def scalars(self) -> dict[str, float]:
        """Return each task's weight exp(s), and s, as the epoch ends."""
        s = self.log_scale.detach()
        weights = dict(zip(self.tasks, torch.exp(s).tolist(), strict=True))
        return {f"weight/{task}": weight for task, weight in weights.items()} | {
            f"log_scale/{task}": value for task, value in zip(self.tasks, s.tolist(), strict=True)
        }
