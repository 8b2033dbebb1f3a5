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
from musicemo_builtin.models._statistics import ALL, Statistics

__all__ = ["Ridge"]


class Ridge(MachineEstimator):
    """Linear regression with an L2 penalty on statistics over time.

    The statistics s of each feature row are those of `svr`. The weights w and b minimize

        sum_i (w . s[i] + b - y[i])^2 + alpha |w|^2

    For each task, alpha is the value of `alphas` with the smallest squared error of leave-one-out predictions of the
    training tracks. A classification has one such regression per class, with target 1 for its tracks and -1 for the
    others; the largest prediction determines the class. So has each tag, with 1 for the tracks that have it; its logit
    is a line of the prediction, fitted to predictions in folds of the training set.

    A. E. Hoerl, R. W. Kennard, "Ridge Regression: Biased Estimation for Nonorthogonal Problems", Technometrics, 1970.

    Args:
        targets: Targets of the tasks.
        alphas: L2 penalties to choose from.
        statistics: Statistics of each feature row over time, as in `svr`.
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
        statistics: Statistics = ALL,
    ) -> None:
        super().__init__(targets, lambda target: _Linear(target, alphas), statistics)


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
        regression = RidgeCV(self.alphas).fit(x, wanted)
        self.weights = torch.from_numpy(np.atleast_2d(regression.coef_).T).float()
        self.intercepts = torch.from_numpy(np.atleast_1d(regression.intercept_)).float()

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weights + self.intercepts
