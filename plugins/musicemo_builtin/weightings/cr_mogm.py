"""The `cr-mogm` weighting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from musicemo.contracts import GradientWeighting
from musicemo_builtin.weightings._torchjd import Aggregation
from musicemo_builtin.weightings.cagrad import CAGrad
from musicemo_builtin.weightings.mgda import MGDA
from musicemo_builtin.weightings.pcgrad import PCGrad
from musicemo_builtin.weightings.upgrad import UPGrad

__all__ = ["CRMOGM"]

_SMOOTHED: dict[str, type[Aggregation]] = {"mgda": MGDA, "pcgrad": PCGrad, "cagrad": CAGrad, "upgrad": UPGrad}


class CRMOGM(GradientWeighting):
    """Weights of another gradient-based weighting, smoothed over the steps.

        w <- alpha w + (1 - alpha) w',  w' the weights of the other method

    where the first w is the first w'. The average of a task without a label in the batch does not change.

    S. Zhou, W. Zhang, J. Jiang, W. Zhong, J. Gu and W. Zhu, "On the Convergence of Stochastic Multi-Objective Gradient
    Manipulation and Beyond", NeurIPS 2022.

    Args:
        tasks: Names of the tasks.
        of: The other weighting, with its default parameters.
        alpha: Decay of the moving average; the paper increases it to 1 as the learning rate falls.

    Raises:
        InputError: torchjd or the solver of the other weighting is not installed.
    """

    def __init__(
        self,
        *,
        tasks: Sequence[str],
        of: Literal["mgda", "pcgrad", "cagrad", "upgrad"] = "mgda",
        alpha: Annotated[float, Field(ge=0, le=1)] = 0.9,
    ) -> None:
        super().__init__(tasks=tasks)
        self.alpha = alpha
        self.smoothed = _SMOOTHED[of](tasks=tasks)
        self.stochastic = self.smoothed.stochastic
        self.weights: Tensor
        #: The average; NaN of tasks that had no label yet.
        self.register_buffer("weights", torch.full((len(self.tasks),), torch.nan, dtype=torch.float64))

    def weigh(self, gradients: Tensor, tasks: Sequence[str]) -> Tensor:
        """Return the smoothed weights `[tasks]`."""
        latest = self.smoothed.weigh(gradients, tasks).to(self.weights)
        where = [self.tasks.index(task) for task in tasks]
        held = self.weights[where]
        self.weights[where] = torch.where(held.isnan(), latest, self.alpha * held + (1 - self.alpha) * latest)
        return self.weights[where].to(gradients)
