"""The `svr` model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from musicemo.contracts import Target
from musicemo_builtin.models._machines import Array, Machine, MachineEstimator
from musicemo_builtin.models._statistics import ALL, Statistics
from musicemo_builtin.models._svm import class_scores, pairwise

__all__ = ["SVR"]

Positive = Annotated[float, Field(gt=0)]


class SVR(MachineEstimator):
    """Support vector machines on statistics over time, one per task: regression or classification.

    The statistics of each feature row are the mean (``mean``), standard deviation (``std``), 10th and 90th percentile
    (``p10``, ``p90``) over a track's steps, and the standard deviation of the differences between steps (``change``),
    each standardized over the training set. Features of any number of rows are accepted. For tracks of one step, such
    as an embedding of the whole track, the percentiles equal the mean, and the deviations are 0 and ignored.
    With the kernel k(a, b) = exp(-gamma |a - b|^2), support vectors v[i], and fitted coefficients c[i] and b,

        f(a) = sum_i c[i] k(a, v[i]) + b

    is a rating, or for two classes the decision between them. More classes are decided by pairs: the score of a
    class is the number of pairs that it wins, plus less than a third for the margin. Each tag is a classification of
    its own; its logit is a line of f, fitted to tracks in folds of the training set.

    H. Drucker, C. Burges, L. Kaufman, A. Smola, V. Vapnik, "Support Vector Regression Machines", NIPS 1996;
    C. Cortes, V. Vapnik, "Support-Vector Networks", Machine Learning, 1995.

    Args:
        targets: Targets of the tasks.
        C: Bound of a regression's coefficients.
        epsilon: Error of a rating in [0, 1] that is ignored.
        classification_C: Bound of a classification's coefficients.
        gamma: Kernel coefficient; "scale" is one over the number of statistics that vary.
        statistics: Statistics of each feature row over time.
    """

    def __init__(
        self,
        *,
        targets: Sequence[Target],
        C: Positive = 0.1,
        epsilon: Annotated[float, Field(ge=0)] = 0.02,
        classification_C: Positive = 3.0,
        gamma: Positive | Literal["scale"] = "scale",
        statistics: Statistics = ALL,
    ) -> None:
        super().__init__(
            targets,
            lambda target: (
                _SVC(target, C=classification_C, gamma=gamma)
                if target.classes
                else _SVR(target, C=C, epsilon=epsilon, gamma=gamma)
            ),
            statistics,
        )


class _Machine(Machine):
    """sum_i c[i] k(a, v[i]) + b for several columns of c and b at once."""

    vectors: Tensor
    coefficients: Tensor
    intercepts: Tensor
    gamma: Tensor

    def __init__(self, target: Target, **settings: Any) -> None:
        super().__init__(target)
        self.settings = settings
        for name in ("vectors", "coefficients", "intercepts", "gamma"):
            self.register_buffer(name, torch.empty(0))

    def keep(self, svm: Any, coefficients: Tensor, intercepts: Tensor) -> None:
        """Take over the support vectors of scikit-learn's machine, with coefficients `[vectors, columns]`."""
        self.vectors = torch.from_numpy(svm.support_vectors_).float()
        self.coefficients, self.intercepts = coefficients.float(), intercepts.float()
        self.gamma = torch.tensor(svm._gamma)

    def decide(self, x: Tensor) -> Tensor:
        """Return f of `x` `[tracks, statistics]`: `[tracks, columns]`."""
        kernel = torch.exp(-self.gamma * torch.cdist(x, self.vectors).square())
        return kernel @ self.coefficients + self.intercepts


class _SVR(_Machine):
    def fit(self, x: Array, y: Array) -> None:
        from sklearn.svm import SVR as Regression

        svm = Regression(**self.settings).fit(x, y)
        self.keep(svm, torch.from_numpy(svm.dual_coef_.T), torch.from_numpy(svm.intercept_))

    def forward(self, x: Tensor) -> Tensor:
        return self.decide(x)


class _SVC(_Machine):
    classes: Tensor

    def __init__(self, target: Target, **settings: Any) -> None:
        super().__init__(target, **settings)
        self.register_buffer("classes", torch.empty(0, dtype=torch.int64))

    def fit(self, x: Array, y: Array) -> None:
        from sklearn.svm import SVC

        svm = SVC(**self.settings).fit(x, y)
        self.classes = torch.from_numpy(svm.classes_.astype(np.int64))
        self.keep(svm, *pairwise(svm))

    def margin(self, x: Tensor) -> Tensor:
        return -self.decide(x).squeeze(1)

    def forward(self, x: Tensor) -> Tensor:
        return class_scores(self.decide(x), self.classes, len(self.target.classes))
