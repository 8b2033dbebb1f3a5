"""Bootstrap intervals: how far a metric could have come out otherwise with other tracks."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from musicemo.settings import Settings

__all__ = ["EvaluationSettings", "percentile_intervals"]

Interval = tuple[float, float]


class EvaluationSettings(Settings):
    """The table ``[evaluation]``."""

    #: Bootstrap resamples of a part's tracks.
    resamples: int = Field(default=1000, ge=100)
    #: Of the intervals: the share of them that holds the true value.
    confidence: float = Field(default=0.95, gt=0, lt=1)


def percentile_intervals(
    resampled: Mapping[str, NDArray[np.float64]], confidence: float
) -> dict[str, Interval]:
    """Return each metric's percentile interval, from its values `[resamples]`.

    Efron (1979), "Bootstrap Methods: Another Look at the Jackknife". Resamples in which a metric is not
    defined are left out; where it never is, both bounds are NaN.
    """
    outside = (1 - confidence) / 2
    intervals = {}
    for name, values in resampled.items():
        defined = values[np.isfinite(values)]
        low, high = np.quantile(defined, [outside, 1 - outside]) if len(defined) else (np.nan, np.nan)
        intervals[name] = (float(low), float(high))
    return intervals
