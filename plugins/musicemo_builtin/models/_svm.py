"""Helpers for support vector machines: pairwise decisions, scores of classes, and their calibration."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import combinations
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize, minimize_scalar
from scipy.special import expit, logit
from torch import Tensor

__all__ = ["class_scores", "pairwise", "sigmoid_fit", "temperature"]

Indices = NDArray[np.intp]

_FOLDS = 5


def pairwise(svm: Any) -> tuple[Tensor, Tensor]:
    """Return coefficients `[support vectors, pairs]` and intercepts `[pairs]` of a scikit-learn `SVC`.

    They are those of the decision between the two classes of each pair, in the order of `itertools.combinations`,
    which is above 0 for the first. scikit-learn keeps, for a support vector of class c, its coefficients in the pairs
    of c with each other class, in their order; with two classes, those of the decision for the second.
    """
    intercepts = torch.from_numpy(svm.intercept_)
    if len(svm.classes_) == 2:
        return torch.from_numpy(-svm.dual_coef_.T), -intercepts
    owner = np.repeat(np.arange(len(svm.n_support_)), svm.n_support_)
    pairs = list(combinations(range(len(svm.n_support_)), 2))
    coefficients = np.zeros((len(owner), len(pairs)))
    for column, (first, second) in enumerate(pairs):
        coefficients[owner == first, column] = svm.dual_coef_[second - 1, owner == first]
        coefficients[owner == second, column] = svm.dual_coef_[first, owner == second]
    return torch.from_numpy(coefficients), intercepts


def class_scores(decisions: Tensor, classes: Tensor, count: int) -> Tensor:
    """Return the scores `[tracks, count]` of classes: the pairs that each wins, plus less than a third for how clearly.

    Args:
        decisions: `[tracks, pairs]`, above 0 for the first class of a pair.
        classes: the classes that pairs were made of; any other has the score -1, which is less than all.
        count: how many classes there are.
    """
    classes_count = len(classes)
    pairs = torch.tensor(list(combinations(range(classes_count), 2)), device=decisions.device)
    first, second = (torch.nn.functional.one_hot(side, classes_count).to(decisions) for side in pairs.unbind(1))
    ahead = (decisions >= 0).to(decisions)
    wins, clarity = ahead @ first + (1 - ahead) @ second, decisions @ (first - second)
    place = torch.nn.functional.one_hot(classes, count).to(decisions)
    return (wins + clarity / (3 * (clarity.abs() + 1)) + 1) @ place - 1


def temperature(labels: Indices, scores_of: Callable[[Indices, Indices], Tensor]) -> float:
    """Return the factor of scores with the least cross-entropy on tracks that they were not fitted to.

    Args:
        labels: `[tracks]`, class indices.
        scores_of: fits to the tracks of its first indices and returns scores `[tracks, classes]` of its second ones.
    """
    out_of_fold = _out_of_fold(labels, scores_of)
    if out_of_fold is None:
        return 1.0
    scores, wanted = out_of_fold

    def cross_entropy(logarithm: float) -> float:
        return float(torch.nn.functional.cross_entropy(scores * math.exp(logarithm), wanted))

    return math.exp(minimize_scalar(cross_entropy, bounds=(-5, 5), method="bounded").x)


def sigmoid_fit(labels: Indices, margins_of: Callable[[Indices, Indices], Tensor]) -> tuple[float, float]:
    """Return the slope a > 0 and the offset b of logits a m + b with the least cross-entropy.

    The margins m are those of tracks that the machine was not fitted to.

    J. Platt, "Probabilistic Outputs for Support Vector Machines and Comparisons to Regularized Likelihood Methods",
    Advances in Large Margin Classifiers, 1999. Deviation: targets are not smoothed, and a is bounded.

    Args:
        labels: `[tracks]`, 0 or 1.
        margins_of: fits to the tracks of its first indices and returns margins `[tracks]` of its second ones.
    """
    out_of_fold = _out_of_fold(labels, margins_of)
    if out_of_fold is None:
        return 1.0, 0.0
    margins, wanted = (values.double().numpy() for values in out_of_fold)

    def cross_entropy(point: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        scaled = math.exp(point[0]) * margins
        logits = scaled + point[1]
        errors = expit(logits) - wanted
        loss = np.mean(np.logaddexp(0, logits) - wanted * logits)
        return float(loss), np.array([np.mean(errors * scaled), np.mean(errors)])

    start = np.array([0.0, float(logit(np.clip(wanted.mean(), 0.01, 0.99)))])
    optimum = minimize(cross_entropy, start, jac=True, method="L-BFGS-B", bounds=[(-5, 5), (-20, 20)])
    return math.exp(optimum.x[0]), float(optimum.x[1])


def _out_of_fold(
    labels: Indices, scores_of: Callable[[Indices, Indices], Tensor]
) -> tuple[Tensor, Tensor] | None:
    """Return the scores of tracks that they were not fitted to, and their labels; None if there are none."""
    from sklearn.model_selection import KFold, StratifiedKFold

    smallest = int(np.bincount(labels)[np.unique(labels)].min())
    kind = StratifiedKFold if smallest >= 2 else KFold
    folds = kind(min(_FOLDS, max(smallest, 2)), shuffle=True, random_state=0).split(labels, labels)
    parts = [
        (scores_of(train, rest).double(), torch.from_numpy(labels[rest]))
        for train, rest in folds
        if len(np.unique(labels[train])) > 1  # else there is nothing to tell apart
    ]
    if not parts:
        return None
    scores, wanted = (torch.cat(column) for column in zip(*parts, strict=True))
    return scores, wanted
