"""The `uncertainty` weighting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from musicemo_builtin.weightings._losses import LossWeighting, Number, warn_of_negative

__all__ = ["Uncertainty"]

_NO_MINIMUM = "exp(-s) * loss + s then has no minimum, s falls without bound and the task's weight explodes"


class Uncertainty(LossWeighting):
    """Homoscedastic uncertainty: each task loss is divided by a trained variance.

        sum_t exp(-s[t]) * loss[t] + s[t]

    over the tasks t that have a label in the batch, with s -> `log_variance`, one trained parameter per task.
    For a constant loss L > 0, s converges to log L and the weight exp(-s) to 1 / L, so all tasks contribute
    equally, whatever the scale of their losses. A negative loss has no minimum: s falls without bound and the
    weight explodes. This causes a warning, once per task.

    A. Kendall, Y. Gal and R. Cipolla, "Multi-Task Learning Using Uncertainty to Weigh Losses for Scene Geometry
    and Semantics", CVPR 2018. The paper uses (1/2) exp(-s) * loss + s/2 for regression, half of the above, and
    exp(-s) * loss + s/2 for classification, where s is the logarithm of the noise variance. This class uses the
    form above for every task, as in the study behind musicemo.

    Shapes: losses are scalars, and so is the objective; `log_variance` `[tasks]`.

    Args:
        tasks: Names of the tasks.
        initial: Initial value of every parameter; 0 is a weight of 1.
    """

    def __init__(self, *, tasks: Sequence[str], initial: Number = 0.0) -> None:
        super().__init__(tasks=tasks)
        self.log_variance = nn.Parameter(torch.full((len(self.tasks),), float(initial)))
        self._warned: set[str] = set()

    def combine(self, losses: Mapping[str, Tensor]) -> Tensor:
        """Return the sum of the weighted losses and of the parameters."""
        warn_of_negative(losses, self._warned, _NO_MINIMUM)
        return super().combine(losses)

    def objective(self, losses: Tensor, present: slice | list[int]) -> Tensor:
        """Return the objective of losses `[n]`."""
        s = self.log_variance[present]
        return (torch.exp(-s) * losses + s).sum()

    def scalars(self) -> dict[str, float]:
        """Return each task's weight exp(-s), and s."""
        s = self.log_variance.detach()
        weights = dict(zip(self.tasks, torch.exp(-s).tolist(), strict=True))
        return {f"weight/{task}": weight for task, weight in weights.items()} | {
            f"log_variance/{task}": value for task, value in zip(self.tasks, s.tolist(), strict=True)
        }
