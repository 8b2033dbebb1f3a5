"""Bootstrap intervals: how far a metric could have come out otherwise with other tracks."""

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

    #: Bootstrap resamples of a part's tracks.
    resamples: int = Field(default=1000, ge=100)
    #: Of the intervals: the share of them that holds the true value.
    confidence: float = Field(default=0.95, gt=0, lt=1)
    #: A classification target, such as the genre: ratings are scored within its classes, too, and against what
    #: the class alone tells.
    control: str | None = None
    #: How predictions are brought to the scale of the ratings, after training and on the validation part.
    calibration: Literal["none", "affine", "isotonic"] = "none"


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
