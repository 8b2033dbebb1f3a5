"""Distributions of rows over time, as points of a space in which their distance means something."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d

__all__ = ["log_euclidean", "normal", "with_slopes"]

Array = NDArray[np.float64]


def with_slopes(rows: Array, halves: Sequence[int], *, smooth: int = 1, smoothed: bool = True) -> Array:
    """Return rows `[rows, time]` and below them, for each w of `halves`, x[t + w] - x[t - w].

    Beyond the ends a row goes on as its last value.

    Args:
        rows: what varies over time.
        halves: half the span of each slope, in steps.
        smooth: steps that the rows themselves are averaged over.
        smoothed: whether a slope is that of averages over w steps.
    """
    rows_and_slopes = [_mean(rows, smooth)]
    steps = np.arange(rows.shape[1])
    for half in halves:
        source = _mean(rows, half) if smoothed else rows
        ahead, behind = (np.clip(steps + shift, 0, len(steps) - 1) for shift in (half, -half))
        rows_and_slopes.append(source[:, ahead] - source[:, behind])
    return np.concatenate(rows_and_slopes)


def _mean(rows: Array, steps: int) -> Array:
    return rows if steps == 1 else uniform_filter1d(rows, steps, axis=1, mode="nearest")


def normal(rows: Array, floor: float = 0.01) -> Array:
    """Return the mean and the covariance of rows `[rows, time]` over time, one after the other.

    Args:
        rows: what varies over time.
        floor: added to every variance, so that the covariance can be inverted.
    """
    mean = rows.mean(1)
    centred = rows - mean[:, None]
    covariance = centred @ centred.T / rows.shape[1] + floor * np.eye(len(rows))
    return np.concatenate([mean, covariance.ravel()])


def log_euclidean(rows: Array, floor: float = 0.03, weight: float = 0.5) -> Array:
    """Return the matrix logarithm of a distribution of rows `[rows, time]`, as a vector.

    A normal distribution with mean m and covariance C is the symmetric positive definite matrix

        S = [[C + weight^2 m m^T, weight m], [weight m^T, 1]]

    and the Euclidean distance of log S, whose upper triangle is returned with sqrt(2) times what is off the diagonal,
    is the log-Euclidean distance of such matrices.

    V. Arsigny, P. Fillard, X. Pennec, N. Ayache, "Log-Euclidean Metrics for Fast and Simple Calculus on Diffusion
    Tensors", Magnetic Resonance in Medicine, 2006; M. Calvo, J. M. Oller, "A Distance between Multivariate Normal
    Distributions Based in an Embedding into the Siegel Group", Journal of Multivariate Analysis, 1990. Deviation: the
    weight.

    Args:
        rows: what varies over time.
        floor: added to every variance.
        weight: of the mean beside the covariance.
    """
    size = len(rows)
    mean, covariance = np.split(normal(rows, floor), [size])
    embedded = np.empty((size + 1, size + 1))
    embedded[:size, :size] = covariance.reshape(size, size) + weight**2 * np.outer(mean, mean)
    embedded[:size, size] = embedded[size, :size] = weight * mean
    embedded[size, size] = 1
    values, vectors = np.linalg.eigh(embedded)
    logarithm = (vectors * np.log(np.maximum(values, 1e-12))) @ vectors.T
    above = logarithm[np.triu_indices(size + 1, 1)]
    return np.concatenate([np.diag(logarithm), np.sqrt(2) * above])
