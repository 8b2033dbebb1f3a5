"""Metrics over a whole part, from scipy and scikit-learn."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "CLASSIFICATION",
    "LEADING",
    "REGRESSION",
    "TITLES",
    "bounds",
    "classification",
    "higher_is_better",
    "of_confusion",
    "regression",
]

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]

REGRESSION = ("spearman", "pearson", "ccc", "r2", "rmse", "mae")
CLASSIFICATION = ("accuracy", "macro_f1", "weighted_f1")

LEADING = (REGRESSION[0], CLASSIFICATION[0])
"""The metric by which a task is judged, of each kind."""

TITLES = {
    "spearman": "Spearman's ρ",
    "pearson": "Pearson's r",
    "ccc": "CCC",
    "r2": "R²",
    "rmse": "RMSE",
    "mae": "MAE",
    "accuracy": "accuracy",
    "macro_f1": "macro F1",
    "weighted_f1": "weighted F1",
}
"""Each metric as it is written."""


def higher_is_better(metric: str) -> bool:
    """Tell whether more of a recorded quantity is better: yes for scores, no for losses and errors."""
    return metric in (*REGRESSION[:4], *CLASSIFICATION, "mean_improvement")


def bounds(metric: str) -> tuple[float, float]:
    """Return the lowest and the highest value that a metric can have."""
    if metric in REGRESSION[:3]:
        return -1.0, 1.0
    return (-math.inf if metric == "r2" else 0.0), (1.0 if higher_is_better(metric) else math.inf)


def regression(prediction: Floats, target: Floats) -> dict[str, Floats]:
    """Return every regression metric over the last axis of two `[..., n]` arrays.

    Spearman's rho, Pearson's r, concordance correlation coefficient, R squared, root mean squared error and
    mean absolute error, the last two in the target's units. The concordance is 2 cov / (var_p + var_t +
    (mean_p - mean_t)^2), from Lin (1989), "A concordance correlation coefficient to evaluate reproducibility".
    A constant prediction ranks nothing: its correlations are 0. With a constant target, or fewer than two
    tracks, correlations and R squared are not defined: NaN. A prediction that is not finite leaves none defined.
    """
    from scipy import stats
    from sklearn import metrics

    *shape, count = target.shape
    if count == 0:
        return {name: np.full(shape, np.nan) for name in REGRESSION}
    known = np.isfinite(prediction)
    prediction = np.where(known.all(axis=-1, keepdims=True), prediction, 0.0)
    columns: dict[str, Any] = {
        "y_true": target.reshape(-1, count).T,
        "y_pred": prediction.reshape(-1, count).T,
        "multioutput": "raw_values",
    }
    defined = np.ptp(target, axis=-1) > 0
    spread = np.ptp(prediction, axis=-1) > 0
    distance = (prediction.mean(axis=-1) - target.mean(axis=-1)) ** 2
    covariance = ((prediction - prediction.mean(axis=-1, keepdims=True)) * target).mean(axis=-1)

    def correlation(first: Floats, second: Floats) -> Floats:
        found = stats.pearsonr(first, second, axis=-1).statistic if count > 1 else np.nan
        return np.where(defined, np.where(spread, found, 0.0), np.nan)

    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # of constant input, which `defined` and `spread` answer
        found = {
            "spearman": correlation(stats.rankdata(prediction, axis=-1), stats.rankdata(target, axis=-1)),
            "pearson": correlation(prediction, target),
            "ccc": np.where(
                defined, 2 * covariance / (prediction.var(axis=-1) + target.var(axis=-1) + distance), np.nan
            ),
            "r2": np.where(
                defined, metrics.r2_score(**columns).reshape(shape) if count > 1 else np.nan, np.nan
            ),
            "rmse": metrics.root_mean_squared_error(**columns).reshape(shape),
            "mae": metrics.mean_absolute_error(**columns).reshape(shape),
        }
    return {name: np.where(known.all(axis=-1), value, np.nan) for name, value in found.items()}


def classification(prediction: Indices, target: Indices, classes: Sequence[str]) -> dict[str, Any]:
    """Return accuracy, macro and weighted F1, and per class precision, recall, F1 and support.

    Macro F1 is the mean over the classes that occur among the targets or the predictions. Both arrays are
    class indices `[n]`; the confusion matrix has a row per true class and a column per predicted one.
    """
    from sklearn import metrics

    if not len(target):
        return dict.fromkeys(CLASSIFICATION, np.nan)
    every = range(len(classes))
    scores = metrics.precision_recall_fscore_support(target, prediction, labels=every, zero_division=0)
    return {
        "accuracy": float(metrics.accuracy_score(target, prediction)),
        "macro_f1": float(metrics.f1_score(target, prediction, average="macro", zero_division=0)),
        "weighted_f1": float(metrics.f1_score(target, prediction, average="weighted", zero_division=0)),
        "per_class": {
            name: {"precision": float(p), "recall": float(r), "f1": float(f), "support": int(s)}
            for name, p, r, f, s in zip(classes, *scores, strict=True)
        },
        "confusion_matrix": metrics.confusion_matrix(target, prediction, labels=every).tolist(),
    }


def of_confusion(confusion: NDArray[Any]) -> dict[str, Floats]:
    """Return accuracy, macro and weighted F1 of many confusion matrices `[..., true, predicted]` at once.

    The same numbers as `classification`, for resampling, where scikit-learn would be called a thousand times.
    """
    support, predicted = confusion.sum(axis=-1), confusion.sum(axis=-2)
    hits = np.diagonal(confusion, axis1=-2, axis2=-1)
    total = support.sum(axis=-1)
    occurs = support + predicted > 0
    f1 = 2 * hits / np.where(occurs, support + predicted, 1)
    return {
        "accuracy": hits.sum(axis=-1) / total,
        "macro_f1": f1.sum(axis=-1) / occurs.sum(axis=-1),
        "weighted_f1": (f1 * support).sum(axis=-1) / total,
    }
