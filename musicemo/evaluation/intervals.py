"""Bootstrap intervals: the variation of a metric between samples of tracks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from musicemo.settings import Settings

__all__ = ["EvaluationSettings", "Interval", "percentile_intervals"]

Interval = tuple[float, float]


class EvaluationSettings(Settings):
    """The table ``[evaluation]``."""

    resamples: int = Field(default=1000, ge=100)
    """Number of bootstrap resamples of a set's tracks."""
    confidence: float = Field(default=0.95, gt=0, lt=1)
    """Confidence level of the intervals."""
    control: str | None = None
    """Classification target, such as the genre, within whose classes the ratings are also scored."""
    calibration: Literal["none", "affine", "isotonic"] = "none"
    """Map from predictions to ratings, fitted on the validation set after training."""


def percentile_intervals(
    resampled: Mapping[str, NDArray[np.float64]], confidence: float
) -> dict[str, Interval]:
    """Return each metric's percentile interval, from its values `[resamples]`.

    Efron (1979), "Bootstrap Methods: Another Look at the Jackknife". Resamples in which a metric is not
    defined are left out; if it is never defined, both bounds are NaN.
    """
    outside = (1 - confidence) / 2
    intervals = {}
    for name, values in resampled.items():
        defined = values[np.isfinite(values)]
        low, high = np.quantile(defined, [outside, 1 - outside]) if len(defined) else (np.nan, np.nan)
        intervals[name] = (float(low), float(high))
    return intervals
