"""Intervals and tests for means over replicates, with two sources of variance: tracks and seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Estimate", "Variance", "estimate", "holm", "of_seeds", "of_tracks"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Variance:
    """A source of variance, such as the choice of tracks or of seeds."""

    #: Variance that the source adds to the estimate.
    variance: float
    #: Estimated variance of the source, of which `variance` is a part, and its degrees of freedom.
    estimated: float
    freedom: float


@dataclass(frozen=True)
class Estimate:
    """A number, its interval, and the test of whether it is 0."""

    value: float
    low: float
    high: float
    #: Two-sided p-value; NaN without variance.
    p: float


def of_tracks(resampled: Floats, tracks: int) -> Variance:
    """Return the variance due to the choice of tracks, from an estimate's bootstrap resamples.

    The bootstrap's variance is too small by the factor (n - 1) / n, as that of a mean shows; this is corrected.

    Args:
        resampled: `[resamples]`; NaN are left out.
        tracks: the number of tracks, n.
    """
    defined = resampled[np.isfinite(resampled)]
    if tracks < 2 or len(defined) < 2:
        return Variance(math.nan, math.nan, math.nan)
    variance = float(defined.var(ddof=1)) * tracks / (tracks - 1)
    return Variance(variance, variance, tracks - 1)


def of_seeds(values: Floats, resampled: Floats) -> Variance:
    """Return the variance of a mean over seeds due to the choice of seeds, beyond the variance due to the tracks.

    With few tracks, seeds also differ because each happens to do better or worse on these tracks. The variance
    of the mean's resamples already contains this part, so it is subtracted, as in an analysis of variance of
    two crossed factors: it is the variance of a seed's resamples around those of the mean. Two seeds are too
    few to estimate it, and one seed gives no variance.

    Args:
        values: `[seeds]`.
        resampled: `[seeds, resamples]`.
    """
    seeds = len(values)
    if seeds < 2:
        return Variance(0.0, 0.0, math.inf)
    between = float(np.var(values, ddof=1)) / seeds
    around = resampled - resampled.mean(axis=0)
    within = float(np.nansum(np.nanvar(around, axis=1))) / (seeds - 1) / seeds
    variance = max(between - within, 0.0) if seeds > 2 else between
    return Variance(variance, between, seeds - 1) if between > 0 else Variance(0.0, 0.0, math.inf)


def estimate(value: float, sources: Sequence[Variance], confidence: float) -> Estimate:
    """Return a number with its t interval and the p-value of its t test against 0.

    The variance v is the sum of the sources' variances. The degrees of freedom are those of Welch and
    Satterthwaite, v^2 / sum_i (v_i^2 / f_i), and at least the smallest f_i: the interval is wide if few seeds
    disagree, and not if they agree. F. E. Satterthwaite, "An Approximate Distribution of Estimates of Variance
    Components", Biometrics Bulletin 2(6), 1946; B. L. Welch, "The generalization of 'Student's' problem when
    several different population variances are involved", Biometrika 34, 1947.

    Args:
        value: the number.
        sources: independent sources of variance.
        confidence: confidence level of the interval.
    """
    from scipy import special

    variance = sum(source.variance for source in sources)
    if not (math.isfinite(value) and math.isfinite(variance)):
        return Estimate(value, math.nan, math.nan, math.nan)
    if variance == 0:
        return Estimate(value, value, value, 1.0 if value == 0 else math.nan)
    present = [source for source in sources if source.variance > 0]
    # In shares of the variance, whose squares do not vanish.
    freedom = 1 / sum((source.estimated / variance) ** 2 / source.freedom for source in present)
    freedom = max(freedom, min(source.freedom for source in present))
    error = math.sqrt(variance)
    statistic = abs(value) / error
    if math.isinf(freedom):
        quantile, tail = special.ndtri((1 + confidence) / 2), special.ndtr(-statistic)
    else:
        quantile, tail = -special.stdtrit(freedom, (1 - confidence) / 2), special.stdtr(freedom, -statistic)
    reach = float(quantile) * error
    return Estimate(value, value - reach, value + reach, float(2 * tail))


def holm(values: Sequence[float]) -> list[float]:
    """Return p-values with Holm's correction, which controls the probability of any false finding.

    The i-th smallest of m is multiplied by m - i + 1, and none becomes smaller than the one before. NaN, from tests
    that could not be computed, remain NaN and are not counted. S. Holm, "A Simple Sequentially Rejective Multiple Test
    Procedure", Scandinavian Journal of Statistics 6(2), 1979.
    """
    corrected = np.full(len(values), np.nan)
    defined = np.flatnonzero(np.isfinite(values))
    order = defined[np.argsort(np.asarray(values, dtype=np.float64)[defined], kind="stable")]
    scaled = np.asarray(values, dtype=np.float64)[order] * np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(np.maximum.accumulate(scaled), 1.0)
    return [float(value) for value in corrected]
