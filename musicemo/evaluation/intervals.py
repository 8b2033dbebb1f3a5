"""Bootstrap intervals: the variation of a metric between samples of tracks.

A resample is represented by the number of times that each track is drawn, `[n]` counts that sum to `n`. Ranks then
follow from cumulative sums over tracks that are sorted once, and everything else from matrix products, so that a
thousand resamples cost little more than one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from musicemo.evaluation.metrics import CLASSIFICATION, REGRESSION, Floats, Indices, of_confusion
from musicemo.settings import Settings

__all__ = [
    "ClassificationResampler",
    "EvaluationSettings",
    "Interval",
    "MidRanks",
    "RegressionResampler",
    "draw_counts",
    "percentile_intervals",
]

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


#: Resampled tracks held at once: few enough for a processor's cache, and a bound of the memory.
_AT_ONCE = 250_000


def draw_counts(count: int, resamples: int, stream: int = 0) -> Iterator[Floats]:
    """Yield `[some resamples, count]`: the number of times that each track is drawn. Equal for equal numbers of tracks.

    Args:
        count: number of tracks.
        resamples: total number of resamples.
        stream: another number gives independent draws.
    """
    random = np.random.default_rng([count, stream] if stream else count)
    at_once = max(1, _AT_ONCE // count)
    for start in range(0, resamples, at_once):
        rows = min(at_once, resamples - start)
        drawn = random.integers(count, size=(rows, count), dtype=np.intp)
        cells = drawn + np.arange(rows)[:, None] * count
        yield np.bincount(cells.ravel(), minlength=rows * count).reshape(rows, count).astype(np.float64)


class RegressionResampler:
    """Regression metrics of resamples. Values that do not depend on the draw are computed once.

    Args:
        prediction: `[n]`.
        target: `[n]`.
    """

    def __init__(self, prediction: Floats, target: Floats) -> None:
        self._spoilt = np.flatnonzero(~np.isfinite(prediction))
        prediction = np.where(np.isfinite(prediction), prediction, 0.0)
        self._values = np.stack([prediction, target])
        self._orders = _Order(prediction), _Order(target)
        with np.errstate(all="ignore"):  # of values whose squares are beyond all numbers
            centers = self._values.mean(axis=1, keepdims=True)
            centered, error = self._values - centers, prediction - target
            columns = [*centered, *centered**2, centered.prod(axis=0), error, error**2, np.abs(error)]
            self._columns = np.stack(columns, axis=1)

    def __call__(self, counts: Floats, names: Sequence[str] = REGRESSION) -> dict[str, Floats]:
        """Return `metrics.regression` of every resample, `[resamples]` each; NaN for a constant target.

        Args:
            counts: `[resamples, n]`.
            names: the metrics.
        """
        scores: dict[str, Floats] = {}
        with np.errstate(all="ignore"):  # of what is not defined, which becomes NaN
            if "spearman" in names:
                scores["spearman"] = self._spearman(counts)
            if set(names) - {"spearman"}:
                scores |= self._of_moments(counts)
        if len(self._spoilt):
            spoilt = counts[:, self._spoilt].any(axis=1)
            scores = {name: np.where(spoilt, np.nan, values) for name, values in scores.items()}
        return {name: scores[name] for name in names}

    def _of_moments(self, counts: Floats) -> dict[str, Floats]:
        """Return all metrics but Spearman's rho, from means over the drawn tracks: one matrix product.

        A variance is the mean square less the squared mean, both of values less their mean over all tracks. In
        resamples where that cancels, it is computed from the deviations.
        """
        means = (counts @ self._columns).T / counts.sum(axis=1)
        first, second = means[:2], means[2:4]
        variances = second - first**2
        covariance = means[4] - first[0] * first[1]
        varied = np.ones(variances.shape, dtype=bool)
        cancelled = variances <= 1e-2 * second
        for place, rows in enumerate(cancelled):
            if rows.any():
                values, some = self._values[place], counts[rows]
                varied[place, rows] = _largest(values, some) > -_largest(-values, some)
                variances[place, rows] = np.where(varied[place, rows], _covariance(values, values, some), 0.0)
        if (rows := cancelled.any(axis=0)).any():
            covariance[rows] = _covariance(self._values[0], self._values[1], counts[rows])
        pearson = np.where(varied[0], covariance / np.sqrt(variances[0] * variances[1]), 0.0)
        ccc = 2 * covariance / (variances[0] + variances[1] + means[5] ** 2)
        of_targets = {"pearson": pearson, "ccc": ccc, "r2": 1 - means[6] / variances[1]}
        return {
            **{name: np.where(varied[1], values, np.nan) for name, values in of_targets.items()},
            "rmse": np.sqrt(means[6]),
            "mae": means[7],
        }

    def _spearman(self, counts: Floats) -> Floats:
        """Return Spearman's rho.

        Twice a rank is a whole number, so that the sums over them are exact up to some 100,000 tracks.
        """
        first, second = self._orders
        sizes = second.sizes(counts)
        target_ranks = _doubled_ranks(sizes)
        target_squares = _weighed(sizes, target_ranks, target_ranks)
        products = np.take(target_ranks, second.group[first.tracks], axis=1)
        drawn = np.take(counts, first.tracks, axis=1)
        products *= drawn
        sizes = first.grouped(drawn)
        ranks = _doubled_ranks(sizes)
        covariance = np.einsum("rn,rn->r", first.grouped(products), ranks)
        squares = _weighed(sizes, ranks, ranks)
        rho = np.where(squares > 0, covariance / np.sqrt(squares * target_squares), 0.0)
        return np.where(target_squares > 0, rho, np.nan)


class ClassificationResampler:
    """Classification metrics of resamples.

    Args:
        prediction: class indices `[n]`.
        target: class indices `[n]`.
        classes: their number.
    """

    def __init__(self, prediction: Indices, target: Indices, classes: int) -> None:
        cells = target * classes + prediction
        self._classes, self._cells, self._order = classes, np.unique(cells), _Order(cells)

    def __call__(self, counts: Floats, names: Sequence[str] = CLASSIFICATION) -> dict[str, Floats]:
        """Return accuracy, macro F1 and weighted F1 of every resample, `[resamples]` each.

        Args:
            counts: `[resamples, n]`.
            names: the metrics.
        """
        confusion = np.zeros((len(counts), self._classes**2))
        confusion[:, self._cells] = self._order.sizes(counts)
        scores = of_confusion(confusion.reshape(-1, self._classes, self._classes))
        return {name: scores[name] for name in names}


class MidRanks:
    """The ranks of values among the drawn tracks.

    Args:
        values: `[n]`.
    """

    def __init__(self, values: Floats) -> None:
        self._order = _Order(values)

    def __call__(self, counts: Floats) -> Floats:
        """Return `[resamples, n]`: each track's rank less the mean rank; equal values share the mean of theirs."""
        return np.take(_doubled_ranks(self._order.sizes(counts)) / 2, self._order.group, axis=1)


class _Order:
    """The order of values, and the groups of equal ones."""

    def __init__(self, values: NDArray[Any]) -> None:
        unique, self.group = np.unique(values, return_inverse=True)
        #: `[n]`: the tracks from the lowest value to the highest.
        self.tracks = np.argsort(self.group, kind="stable")
        self._begins = np.flatnonzero(np.diff(self.group[self.tracks], prepend=-1))
        self._distinct = len(unique) == len(values)

    def grouped(self, values: Floats) -> Floats:
        """Return `[resamples, groups]`: sums of `[resamples, n]`, in order, over equal tracks."""
        return values if self._distinct else np.add.reduceat(values, self._begins, axis=1)

    def sizes(self, counts: Floats) -> Floats:
        """Return `[resamples, groups]`: how many tracks are drawn from each group."""
        return self.grouped(np.take(counts, self.tracks, axis=1))


def _doubled_ranks(sizes: Floats) -> Floats:
    """Return `[resamples, groups]`: twice the rank that each group's tracks share, less twice the mean rank."""
    ranks = sizes.copy()
    ranks[:, 1:] += sizes[:, :-1]
    ranks[:, 0] -= sizes.sum(axis=1)
    return np.cumsum(ranks, axis=1, out=ranks)


def _weighed(weights: Floats, first: Floats, second: Floats) -> Floats:
    """Return `[resamples]`: the weighted sum of products."""
    return np.asarray(np.einsum("rn,rn,rn->r", weights, first, second))


def _largest(values: Floats, counts: Floats) -> Floats:
    """Return `[resamples]`: the largest value that is drawn."""
    return np.asarray(np.where(counts > 0, values, -np.inf).max(axis=1))


def _covariance(first: Floats, second: Floats, counts: NDArray[np.float64]) -> Floats:
    """Return `[resamples]`: the covariance over the drawn tracks; both `[n]` or `[resamples, n]`."""
    total = counts.sum(axis=1)

    def centred(values: Floats) -> Floats:
        values = np.broadcast_to(values, counts.shape)
        return np.asarray(values - (np.einsum("rn,rn->r", counts, values) / total)[:, None])

    return np.asarray(np.einsum("rn,rn,rn->r", counts, centred(first), centred(second)) / total)
