"""Intervals and tests for means over replicates: two sources of chance, the tracks and the seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Estimate", "Source", "estimate", "holm", "of_seeds", "of_tracks"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Source:
    """Something that would be otherwise in a repetition: the variance that it gives to an estimate."""

    #: What it adds.
    variance: float
    #: The variance that was estimated for it, of which `variance` is a part, and its degrees of freedom.
    estimated: float
    freedom: float


@dataclass(frozen=True)
class Estimate:
    """A number, its interval, and the test that it is 0."""

    value: float
    low: float
    high: float
    #: Two-sided; NaN where there is no variance to test against.
    p: float


def of_tracks(resampled: Floats, tracks: int) -> Source:
    """Return what the choice of tracks gives, from an estimate's bootstrap resamples.

    The bootstrap's variance is n / (n - 1) too small (as a mean's shows), which is made good.

    Args:
        resampled: `[resamples]`; those that are NaN are left out.
        tracks: n.
    """
    known = resampled[np.isfinite(resampled)]
    if tracks < 2 or len(known) < 2:
        return Source(math.nan, math.nan, math.nan)
    variance = float(known.var(ddof=1)) * tracks / (tracks - 1)
    return Source(variance, variance, tracks - 1)


def of_seeds(values: Floats, resampled: Floats) -> Source:
    """Return what the choice of seeds gives to the mean over them, beyond what the tracks give it.

    With few tracks, seeds differ by chance: by how each happens to do on these tracks. That is in the variance of the
    mean's resamples already, so it is subtracted, as in an analysis of variance of two crossed factors: it is the
    variance of a seed's resamples around those of the mean. Two seeds say too little for that; nothing can be told of a
    single one.

    Args:
        values: `[seeds]`.
        resampled: `[seeds, resamples]`.
    """
    seeds = len(values)
    if seeds < 2:
        return Source(0.0, 0.0, math.inf)
    between = float(np.var(values, ddof=1)) / seeds
    around = resampled - resampled.mean(axis=0)
    within = float(np.nansum(np.nanvar(around, axis=1))) / (seeds - 1) / seeds
    own = max(between - within, 0.0) if seeds > 2 else between
    return Source(own, between, seeds - 1) if between > 0 else Source(0.0, 0.0, math.inf)


def estimate(value: float, sources: Sequence[Source], confidence: float) -> Estimate:
    """Return a number with its t interval and the p-value of its t test against 0.

    The variance is the sum of the sources' variances, v, and the degrees of freedom are those of Welch and
    Satterthwaite, v^2 / sum_i (v_i^2 / f_i), and no fewer than the least f_i: few seeds that disagree give a wide
    interval, few seeds that agree do not. F. E. Satterthwaite, "An Approximate Distribution of Estimates of Variance
    Components", Biometrics Bulletin 2(6), 1946; B. L. Welch, "The generalization of 'Student's' problem when several
    different population variances are involved", Biometrika 34, 1947.

    Args:
        value: the number.
        sources: independent of one another.
        confidence: of the interval.
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
    """Return p-values corrected for being several, so that the chance of any false one stays what it was.

    The i-th smallest of m is multiplied by m - i + 1, and none becomes smaller than the one before. NaN, of tests
    that could not be made, stays and does not count. S. Holm, "A Simple Sequentially Rejective Multiple Test
    Procedure", Scandinavian Journal of Statistics 6(2), 1979.
    """
    corrected = np.full(len(values), np.nan)
    known = np.flatnonzero(np.isfinite(values))
    order = known[np.argsort(np.asarray(values, dtype=np.float64)[known], kind="stable")]
    scaled = np.asarray(values, dtype=np.float64)[order] * np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(np.maximum.accumulate(scaled), 1.0)
    return [float(value) for value in corrected]
