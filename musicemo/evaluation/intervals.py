"""Bootstrap intervals: how far a metric could have come out otherwise with other tracks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from musicemo.evaluation.metrics import of_confusion, regression
from musicemo.settings import Settings

__all__ = ["EvaluationSettings", "classification_intervals", "regression_intervals"]

Interval = tuple[float, float]


class EvaluationSettings(Settings):
    """The table ``[evaluation]``."""

    #: Bootstrap resamples of a part's tracks, and the intervals' confidence.
    resamples: int = Field(default=1000, ge=100)
    confidence: float = Field(default=0.95, gt=0, lt=1)


def regression_intervals(
    prediction: NDArray[np.float64], target: NDArray[np.float64], settings: EvaluationSettings
) -> dict[str, Interval]:
    """Return the percentile bootstrap interval of every regression metric; both arrays `[n]`.

    Efron (1979), "Bootstrap Methods: Another Look at the Jackknife". Resamples in which a metric is not
    defined are left out; where it never is, both bounds are NaN.
    """
    drawn = _draw(len(target), settings)
    return _percentiles(regression(prediction[drawn], target[drawn]), settings)


def classification_intervals(
    prediction: NDArray[np.intp], target: NDArray[np.intp], classes: int, settings: EvaluationSettings
) -> dict[str, Interval]:
    """Return the percentile bootstrap interval of accuracy, macro F1 and weighted F1; both arrays `[n]`."""
    drawn = _draw(len(target), settings)
    pairs = (target * classes + prediction)[drawn]
    offsets = np.arange(len(drawn))[:, None] * classes**2
    counts = np.bincount((pairs + offsets).ravel(), minlength=len(drawn) * classes**2)
    return _percentiles(of_confusion(counts.reshape(-1, classes, classes)), settings)


def _draw(count: int, settings: EvaluationSettings) -> NDArray[np.intp]:
    """Return `[resamples, count]` track indices, the same for the same number of tracks."""
    random = np.random.default_rng(count)
    return random.integers(count, size=(settings.resamples, count), dtype=np.intp)


def _percentiles(
    resampled: dict[str, NDArray[np.float64]], settings: EvaluationSettings
) -> dict[str, Interval]:
    outside = (1 - settings.confidence) / 2
    intervals = {}
    for name, values in resampled.items():
        found = values[np.isfinite(values)]
        low, high = np.quantile(found, [outside, 1 - outside]) if len(found) else (np.nan, np.nan)
        intervals[name] = (float(low), float(high))
    return intervals
