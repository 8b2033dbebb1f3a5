"""Metrics of a part whose tracks are drawn again, with replacement.

A resample is told by how often each track is in it, `[n]` counts that sum to `n`. Ranks then follow from cumulative
sums over tracks that are sorted once, and everything else from matrix products, so that a thousand resamples cost
little more than one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from musicemo.evaluation.metrics import CLASSIFICATION, REGRESSION, Floats, Indices, of_confusion

__all__ = ["draw_counts", "midranks", "resampled_classification", "resampled_regression"]

#: Resampled tracks held at once, which bounds the memory that a large part takes.
_AT_ONCE = 1_000_000


def draw_counts(count: int, resamples: int, stream: int = 0) -> Iterator[Floats]:
    """Yield `[some resamples, count]`: how often each track is drawn; the same for the same number of tracks.

    Args:
        count: tracks.
        resamples: how many, over all that is yielded.
        stream: another number gives draws that are independent of these.
    """
    random = np.random.default_rng([count, stream] if stream else count)
    at_once = max(1, _AT_ONCE // count)
    for start in range(0, resamples, at_once):
        rows = min(at_once, resamples - start)
        drawn = random.integers(count, size=(rows, count), dtype=np.intp)
        cells = drawn + np.arange(rows)[:, None] * count
        yield np.bincount(cells.ravel(), minlength=rows * count).reshape(rows, count).astype(np.float64)


def resampled_regression(
    prediction: Floats, target: Floats, counts: Floats, names: Sequence[str] = REGRESSION
) -> dict[str, Floats]:
    """Return `metrics.regression` of every resample, `[resamples]` each; a constant target leaves NaN there.

    Args:
        prediction: `[n]`.
        target: `[n]`.
        counts: `[resamples, n]`.
        names: the metrics.
    """
    known = np.isfinite(prediction)
    spoilt = counts[:, ~known].any(axis=1)
    prediction = np.where(known, prediction, 0.0)
    total = counts.sum(axis=1, keepdims=True)
    error = prediction - target
    target_ranks, defined = midranks(target, counts)
    ranks, spread = midranks(prediction, counts)

    def mean(values: Floats) -> Floats:
        return np.asarray(counts @ values / total[:, 0])

    def correlation(first: Floats, second: Floats) -> Floats:
        variances = _covariance(first, first, counts) * _covariance(second, second, counts)
        return np.where(spread, _covariance(first, second, counts) / np.sqrt(variances), 0.0)

    def ccc() -> Floats:
        variances = _covariance(prediction, prediction, counts) + _covariance(target, target, counts)
        return 2 * _covariance(prediction, target, counts) / (variances + mean(error) ** 2)

    of: dict[str, Callable[[], Floats]] = {
        "spearman": lambda: correlation(ranks, target_ranks),
        "pearson": lambda: correlation(prediction, target),
        "ccc": ccc,
        "r2": lambda: 1 - mean(error**2) / _covariance(target, target, counts),
        "rmse": lambda: np.sqrt(mean(error**2)),
        "mae": lambda: mean(np.abs(error)),
    }
    with np.errstate(all="ignore"):  # of what is not defined, which becomes NaN
        found = {name: of[name]() for name in names}
    for name, values in found.items():
        values[spoilt if name in ("rmse", "mae") else spoilt | ~defined] = np.nan
    return found


def resampled_classification(
    prediction: Indices, target: Indices, classes: int, counts: Floats, names: Sequence[str] = CLASSIFICATION
) -> dict[str, Floats]:
    """Return accuracy, macro F1 and weighted F1 of every resample, `[resamples]` each.

    Args:
        prediction: class indices `[n]`.
        target: class indices `[n]`.
        classes: their number.
        counts: `[resamples, n]`.
        names: the metrics.
    """
    cells = np.zeros((len(target), classes**2))
    cells[np.arange(len(target)), target * classes + prediction] = 1
    found = of_confusion((counts @ cells).reshape(-1, classes, classes))
    return {name: found[name] for name in names}


def midranks(values: Floats, counts: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """Return `[resamples, n]`, each track's rank among those drawn, and whether they are not all equal.

    Equal values share the mean of their ranks.
    """
    _, group = np.unique(values, return_inverse=True)
    order = np.argsort(group, kind="stable")
    begins = np.flatnonzero(np.diff(group[order], prepend=-1))
    sizes = np.add.reduceat(counts[:, order], begins, axis=1)
    ranks = np.cumsum(sizes, axis=1) - (sizes - 1) / 2
    return ranks[:, group], (sizes > 0).sum(axis=1) > 1


def _covariance(first: Floats, second: Floats, counts: NDArray[np.float64]) -> Floats:
    """Return `[resamples]`: the covariance over the drawn tracks; both `[n]` or `[resamples, n]`."""
    total = counts.sum(axis=1)

    def centred(values: Floats) -> Floats:
        values = np.broadcast_to(values, counts.shape)
        return np.asarray(values - (np.einsum("rn,rn->r", counts, values) / total)[:, None])

    return np.asarray(np.einsum("rn,rn,rn->r", counts, centred(first), centred(second)) / total)
