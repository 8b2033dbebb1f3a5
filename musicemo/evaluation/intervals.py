"""Bootstrap intervals: how far a metric could have come out otherwise with other tracks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from musicemo.evaluation.metrics import of_confusion, regression
from musicemo.settings import Settings

__all__ = ["EvaluationSettings", "classification_intervals", "regression_intervals"]

Interval = tuple[float, float]

#: Resampled tracks held at once, which bounds the memory that a large part takes.
_AT_ONCE = 1_000_000


class EvaluationSettings(Settings):
    """The table ``[evaluation]``."""

    #: Bootstrap resamples of a part's tracks.
    resamples: int = Field(default=1000, ge=100)
    #: Of the intervals: the share of them that holds the true value.
    confidence: float = Field(default=0.95, gt=0, lt=1)


def regression_intervals(
    prediction: NDArray[np.float64], target: NDArray[np.float64], settings: EvaluationSettings
) -> dict[str, Interval]:
    """Return the percentile bootstrap interval of every regression metric; both arrays `[n]`.

    Efron (1979), "Bootstrap Methods: Another Look at the Jackknife". Resamples in which a metric is not
    defined are left out; where it never is, both bounds are NaN.
    """
    resampled = [regression(prediction[drawn], target[drawn]) for drawn in _draw(len(target), settings)]
    return _percentiles(resampled, settings)


def classification_intervals(
    prediction: NDArray[np.intp], target: NDArray[np.intp], classes: int, settings: EvaluationSettings
) -> dict[str, Interval]:
    """Return the percentile bootstrap interval of accuracy, macro F1 and weighted F1; both arrays `[n]`."""
    cells = target * classes + prediction
    resampled = []
    for drawn in _draw(len(target), settings):
        offsets = np.arange(len(drawn))[:, None] * classes**2
        counts = np.bincount((cells[drawn] + offsets).ravel(), minlength=len(drawn) * classes**2)
        resampled.append(of_confusion(counts.reshape(-1, classes, classes)))
    return _percentiles(resampled, settings)


def _draw(count: int, settings: EvaluationSettings) -> Iterator[NDArray[np.intp]]:
    """Yield `[some resamples, count]` track indices, the same for the same number of tracks."""
    random = np.random.default_rng(count)
    at_once = max(1, _AT_ONCE // count)
    for start in range(0, settings.resamples, at_once):
        yield random.integers(count, size=(min(at_once, settings.resamples - start), count), dtype=np.intp)


def _percentiles(
    resampled: Sequence[dict[str, NDArray[np.float64]]], settings: EvaluationSettings
) -> dict[str, Interval]:
    outside = (1 - settings.confidence) / 2
    intervals = {}
    for name in resampled[0]:
        values = np.concatenate([found[name] for found in resampled])
        defined = values[np.isfinite(values)]
        low, high = np.quantile(defined, [outside, 1 - outside]) if len(defined) else (np.nan, np.nan)
        intervals[name] = (float(low), float(high))
    return intervals
