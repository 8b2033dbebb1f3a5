"""The `ridge` model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from musicemo.contracts import Target
from musicemo_builtin.models._machines import Array, Machine, MachineEstimator

__all__ = ["Ridge"]


class Ridge(MachineEstimator):
    """Linear regression with an L2 penalty on statistics over time, the penalty chosen for each task.

    The statistics s of each feature row are those of `svr`. With weights w and b,

        sum_i (w . s[i] + b - y[i])^2 + alpha |w|^2

    is least; of `alphas`, the one with the least squared error when each training track is predicted from the others.
    A classification has such a regression for every class, of 1 for its tracks and -1 for the rest, and the largest
    prediction decides.

    A. E. Hoerl, R. W. Kennard, "Ridge Regression: Biased Estimation for Nonorthogonal Problems", Technometrics, 1970.

    Args:
        targets: What is predicted.
        alphas: Penalties to choose from.
    """

    def __init__(
        self,
        *,
        targets: Sequence[Target],
        alphas: Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=1)] = (
            1.0,
            10.0,
            100.0,
            1e3,
            1e4,
            1e5,
        ),
    ) -> None:
        super().__init__([_Linear(target, alphas) for target in targets])


class _Linear(Machine):
    weights: Tensor
    intercepts: Tensor

    def __init__(self, target: Target, alphas: Sequence[float]) -> None:
        super().__init__(target)
        self.alphas = list(alphas)
        self.register_buffer("weights", torch.empty(0))
        self.register_buffer("intercepts", torch.empty(0))

    def fit(self, x: Array, y: Array) -> None:
        from sklearn.linear_model import RidgeCV

        classes = len(self.target.classes)
        wanted = np.where(y[:, None] == np.arange(classes), 1.0, -1.0) if classes else y[:, None]
        found = RidgeCV(self.alphas).fit(x, wanted)
        self.weights = torch.from_numpy(np.atleast_2d(found.coef_).T).float()
        self.intercepts = torch.from_numpy(np.atleast_1d(found.intercept_)).float()

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weights + self.intercepts
