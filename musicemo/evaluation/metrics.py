"""Metrics of a whole set, in numpy.

The values equal those of scipy and scikit-learn, whose import would take a second of every command.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "CLASSIFICATION",
    "EPOCH_METRICS",
    "LEADING",
    "METRICS",
    "PAIRS",
    "REGRESSION",
    "SCORES",
    "SERIES",
    "SPREAD",
    "TAGS",
    "TITLES",
    "TargetKind",
    "bounds",
    "classification",
    "higher_is_better",
    "of_confusion",
    "ranks",
    "regression",
]

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]

#: Kinds of targets: a rating, one class of several, any number of tags at once, ratings over time, which of two tracks
#: is higher.
TargetKind = Literal["regression", "classification", "tags", "series", "pairs"]

REGRESSION = ("spearman", "pearson", "ccc", "r2", "rmse", "mae")
CLASSIFICATION = ("accuracy", "macro_f1", "weighted_f1")
SPREAD = ("crps", "nll")
PAIRS = ("pair_accuracy", "vote_accuracy")
TAGS = ("pr_auc", "roc_auc", "micro_pr_auc", "micro_roc_auc", "macro_f1", "micro_f1")

SERIES = ("song_pearson", "song_rmse", "song_ccc", "pooled_pearson", "pooled_rmse", "pooled_ccc")

METRICS: Mapping[str, tuple[str, ...]] = {
    "regression": REGRESSION,
    "classification": CLASSIFICATION,
    "tags": TAGS,
    "series": SERIES,
    "pairs": PAIRS,
}
"""Kind of task -> its metrics."""

EPOCH_METRICS: Mapping[str, tuple[str, ...]] = {**METRICS, "tags": TAGS[:4]}
"""Kind of task -> metrics of each epoch. The thresholds of the F1 scores of tags are chosen after training."""

LEADING = tuple(names[0] for names in METRICS.values())
"""The metric by which a task is judged, of each kind."""

SCORES = tuple(dict.fromkeys(name for names in (*METRICS.values(), SPREAD) for name in names))
"""Every metric of every kind, and those of predicted distributions of ratings."""

TITLES = {
    "spearman": "Spearman's rho",
    "pearson": "Pearson's r",
    "ccc": "CCC",
    "r2": "R²",
    "rmse": "RMSE",
    "mae": "MAE",
    "accuracy": "accuracy",
    "macro_f1": "macro F1",
    "weighted_f1": "weighted F1",
    "pr_auc": "PR-AUC",
    "roc_auc": "ROC-AUC",
    "micro_pr_auc": "micro PR-AUC",
    "micro_roc_auc": "micro ROC-AUC",
    "micro_f1": "micro F1",
    "song_pearson": "r per song",
    "song_rmse": "RMSE per song",
    "song_ccc": "CCC per song",
    "pooled_pearson": "pooled r",
    "pooled_rmse": "pooled RMSE",
    "pooled_ccc": "pooled CCC",
    "crps": "CRPS",
    "nll": "NLL",
    "pair_accuracy": "pairwise accuracy",
    "vote_accuracy": "vote accuracy",
}
"""Each metric as it is written."""

SHORT_TITLES = {**TITLES, "spearman": "rho", "pearson": "r"}
"""Each metric in a narrow column."""


def higher_is_better(metric: str) -> bool:
    """Return whether higher values of a recorded quantity are better: yes for scores, no for losses and errors."""
    series = (name for name in SERIES if not name.endswith("rmse"))
    return metric in (*REGRESSION[:4], *CLASSIFICATION, *TAGS, *series, *PAIRS, "mean_improvement")


def bounds(metric: str) -> tuple[float, float]:
    """Return the lowest and the highest value that a metric can have."""
    if metric in REGRESSION[:3] or metric.endswith(("_pearson", "_ccc")):
        return -1.0, 1.0
    return (-math.inf if metric in ("r2", "nll") else 0.0), (1.0 if higher_is_better(metric) else math.inf)


def regression(prediction: Floats, target: Floats) -> dict[str, Floats]:
    """Return every regression metric over the last axis of two `[..., n]` arrays.

    Spearman's rho, Pearson's r, concordance correlation coefficient, R squared, root mean squared error and
    mean absolute error, the last two in the target's units. The concordance is 2 cov / (var_p + var_t +
    (mean_p - mean_t)^2), from Lin (1989), "A concordance correlation coefficient to evaluate reproducibility".
    The correlations of a constant prediction are 0. With a constant target, or fewer than two tracks, correlations
    and R squared are NaN. If a prediction is not finite, all metrics are NaN.
    """
    *shape, count = target.shape
    if count == 0:
        return {name: np.full(shape, np.nan) for name in REGRESSION}
    predicted = np.asarray(np.isfinite(prediction).all(axis=-1))
    prediction = np.where(predicted[..., None], prediction, 0.0)

    def correlation(first: Floats, second: Floats) -> Floats:
        return np.where(defined, np.where(spread, _pearson(first, second), 0.0), np.nan)

    with np.errstate(all="ignore"):  # of what is not defined, which becomes NaN
        defined = predicted & (np.ptp(target, axis=-1) > 0)
        spread = np.ptp(prediction, axis=-1) > 0
        centered = prediction - prediction.mean(axis=-1, keepdims=True)
        deviations = target - target.mean(axis=-1, keepdims=True)
        error = prediction - target
        squared = (error**2).mean(axis=-1)
        variances = (centered**2).mean(axis=-1) + (deviations**2).mean(axis=-1)
        ccc = 2 * (centered * deviations).mean(axis=-1) / (variances + error.mean(axis=-1) ** 2)
        r2 = 1 - (error**2).sum(axis=-1) / (deviations**2).sum(axis=-1)
        return {
            "spearman": correlation(ranks(prediction), ranks(target)),
            "pearson": correlation(prediction, target),
            "ccc": np.where(defined, ccc, np.nan),
            "r2": np.where(defined, r2, np.nan),
            "rmse": np.where(predicted, np.sqrt(squared), np.nan),
            "mae": np.where(predicted, np.abs(error).mean(axis=-1), np.nan),
        }


def ranks(values: NDArray[Any]) -> Floats:
    """Return the ranks over the last axis, from 1; equal values share their mean rank."""
    order = np.argsort(values, axis=-1, kind="stable")
    ordered = np.take_along_axis(values, order, axis=-1)
    places = np.arange(values.shape[-1])
    differs = ordered[..., 1:] != ordered[..., :-1]
    edge = np.ones((*values.shape[:-1], 1), dtype=bool)
    first = np.maximum.accumulate(np.where(np.concatenate([edge, differs], axis=-1), places, 0), axis=-1)
    ends = np.where(np.concatenate([differs, edge], axis=-1), places, places[-1:])
    last = np.flip(np.minimum.accumulate(np.flip(ends, axis=-1), axis=-1), axis=-1)
    ranked = np.empty(values.shape)
    np.put_along_axis(ranked, order, (first + last) / 2 + 1, axis=-1)
    return ranked


def _pearson(first: Floats, second: Floats) -> Floats:
    """Return Pearson's r over the last axis. Deviations are scaled before they are squared, to avoid overflow."""

    def normalized(values: Floats) -> Floats:
        deviations = values - values.mean(axis=-1, keepdims=True)
        scaled = deviations / np.abs(deviations).max(axis=-1, keepdims=True)
        return np.asarray(scaled / np.sqrt((scaled**2).sum(axis=-1, keepdims=True)))

    r = np.clip((normalized(first) * normalized(second)).sum(axis=-1), -1.0, 1.0)
    return np.asarray(np.round(r) if first.shape[-1] == 2 else r)


def classification(prediction: Indices, target: Indices, classes: Sequence[str]) -> dict[str, Any]:
    """Return accuracy, macro and weighted F1, and per class precision, recall, F1 and support.

    Macro F1 is the mean over the classes that occur among the targets or the predictions. Both arrays are
    class indices `[n]`. The confusion matrix has one row per true class and one column per predicted class.
    """
    if not len(target):
        return dict.fromkeys(CLASSIFICATION, np.nan)
    count = len(classes)
    confusion = np.bincount(target * count + prediction, minlength=count**2).reshape(count, count)
    hits, support, predicted = np.diagonal(confusion), confusion.sum(axis=1), confusion.sum(axis=0)
    precision, recall = hits / np.maximum(predicted, 1), hits / np.maximum(support, 1)
    f1 = 2 * hits / np.maximum(support + predicted, 1)
    return {
        **{name: float(value) for name, value in of_confusion(confusion).items()},
        "per_class": {
            name: {"precision": float(p), "recall": float(r), "f1": float(f), "support": int(s)}
            for name, p, r, f, s in zip(classes, precision, recall, f1, support, strict=True)
        },
        "confusion_matrix": confusion.tolist(),
    }


def of_confusion(confusion: NDArray[Any]) -> dict[str, Floats]:
    """Return accuracy, macro and weighted F1 of many confusion matrices `[..., true, predicted]` at once.

    `classification` uses it for one matrix, resampling for a thousand.
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
