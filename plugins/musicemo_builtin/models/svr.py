"""The `svr` model."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Annotated, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from musicemo.contracts import Target
from musicemo_builtin.models._machines import Array, Machine, MachineEstimator

__all__ = ["SVR"]

Positive = Annotated[float, Field(gt=0)]


class SVR(MachineEstimator):
    """Support vector machines on statistics over time, a machine per task: regression, or classification.

    The statistics of each feature row are mean, deviation, 10th and 90th percentile over a track's steps, and the
    deviation of the differences between steps; each is standardized over the training part. With the kernel
    k(a, b) = exp(-gamma |a - b|^2), support vectors v[i] and what is fitted, the coefficients c[i] and b:

        f(a) = sum_i c[i] k(a, v[i]) + b

    is a rating, or for two classes the decision between them. Classes are decided pairwise; a class's score is the
    number of its pairs that it wins, plus less than a third for how clearly.

    H. Drucker, C. Burges, L. Kaufman, A. Smola, V. Vapnik, "Support Vector Regression Machines", NIPS 1996;
    C. Cortes, V. Vapnik, "Support-Vector Networks", Machine Learning, 1995.

    Args:
        input_size: Number of feature rows.
        targets: What is predicted.
        C: The bound of a regression's coefficients.
        epsilon: The error of a rating in [0, 1] that costs nothing.
        classification_C: The bound of a classification's coefficients.
        gamma: The kernel's; "scale" is one over the number of statistics.
    """

    def __init__(
        self,
        *,
        targets: Sequence[Target],
        C: Positive = 0.1,
        epsilon: Annotated[float, Field(ge=0)] = 0.02,
        classification_C: Positive = 3.0,
        gamma: Positive | Literal["scale"] = "scale",
    ) -> None:
        super().__init__(
            [
                _SVC(target, C=classification_C, gamma=gamma)
                if target.classes
                else _SVR(target, C=C, epsilon=epsilon, gamma=gamma)
                for target in targets
            ]
        )


class _Machine(Machine):
    """sum_i c[i] k(a, v[i]) + b for several columns of c and b at once."""

    vectors: Tensor
    coefficients: Tensor
    intercepts: Tensor
    gamma: Tensor

    def __init__(self, target: Target, **parameters: Any) -> None:
        super().__init__(target)
        self.settings = parameters
        for name in ("vectors", "coefficients", "intercepts", "gamma"):
            self.register_buffer(name, torch.empty(0))

    def keep(self, svm: Any, coefficients: NDArray[np.float64]) -> None:
        """Take over a fitted machine of scikit-learn and its coefficients `[vectors, columns]`."""
        self.vectors = torch.from_numpy(svm.support_vectors_).float()
        self.coefficients = torch.from_numpy(coefficients).float()
        self.intercepts = torch.from_numpy(svm.intercept_).float()
        self.gamma = torch.tensor(svm._gamma)

    def decide(self, x: Tensor) -> Tensor:
        """Return f of `x` `[tracks, statistics]`: `[tracks, columns]`."""
        kernel = torch.exp(-self.gamma * torch.cdist(x, self.vectors).square())
        return kernel @ self.coefficients + self.intercepts


class _SVR(_Machine):
    def fit(self, x: Array, y: Array) -> None:
        from sklearn.svm import SVR as Regression

        svm = Regression(**self.settings).fit(x, y)
        self.keep(svm, svm.dual_coef_.T)

    def forward(self, x: Tensor) -> Tensor:
        return self.decide(x)


class _SVC(_Machine):
    classes: Tensor

    def __init__(self, target: Target, **parameters: Any) -> None:
        super().__init__(target, **parameters)
        self.register_buffer("classes", torch.empty(0, dtype=torch.int64))

    def fit(self, x: Array, y: Array) -> None:
        from sklearn.svm import SVC

        svm = SVC(**self.settings).fit(x, y)
        self.classes = torch.from_numpy(svm.classes_.astype(np.int64))
        self.keep(svm, _pairwise(svm))
        if len(self.classes) == 2:
            self.coefficients, self.intercepts = -self.coefficients, -self.intercepts

    def forward(self, x: Tensor) -> Tensor:
        """Return the scores of the classes: those of a class that was not trained are lower than all others'."""
        decisions = self.decide(x)  # above 0 for the first class of a pair
        count = len(self.classes)
        wins, clarity = x.new_zeros(len(x), count), x.new_zeros(len(x), count)
        for column, (first, second) in enumerate(combinations(range(count), 2)):
            decision = decisions[:, column]
            wins[:, first] += decision >= 0
            wins[:, second] += decision < 0
            clarity[:, first] += decision
            clarity[:, second] -= decision
        scores = wins + clarity / (3 * (clarity.abs() + 1))
        found = x.new_full((len(x), len(self.target.classes)), -1.0)
        found[:, self.classes] = scores
        return found


def _pairwise(svm: Any) -> NDArray[np.float64]:
    """Return the coefficients `[vectors, pairs]` of the pairs' decisions, in the order of `itertools.combinations`.

    A decision is above 0 for the first class of its pair; of two classes alone, for the second. scikit-learn keeps, for
    a support vector of class c, its coefficients in the pairs of c with each other class, in their order.
    """
    if len(svm.classes_) == 2:
        return svm.dual_coef_.T  # type: ignore[no-any-return]  # scikit-learn is untyped
    owner = np.repeat(np.arange(len(svm.n_support_)), svm.n_support_)
    pairs = list(combinations(range(len(svm.n_support_)), 2))
    coefficients = np.zeros((len(owner), len(pairs)))
    for column, (first, second) in enumerate(pairs):
        coefficients[owner == first, column] = svm.dual_coef_[second - 1, owner == first]
        coefficients[owner == second, column] = svm.dual_coef_[first, owner == second]
    return coefficients
