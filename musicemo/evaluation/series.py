"""Metrics of ratings over time, in numpy: of a set of songs, and of its resamples.

As MediaEval's task "Emotion in Music" and PMEmo define them: within each song and then averaged over the songs, and
over the ratings of all songs together.

A. Aljanaki, Y.-H. Yang, M. Soleymani, "Developing a benchmark for emotional analysis of music", PLOS ONE 12, 2017;
K. Zhang et al., "The PMEmo Dataset for Music Emotion Recognition", ICMR 2018.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from musicemo.evaluation.metrics import SERIES, Floats

__all__ = ["MomentError", "SeriesResampler", "moment_error", "padded", "song_metrics"]

#: Share of the rated moments that are within the error.
_SHARE = 0.8
#: Minimum number of songs of an error.
_LEAST = 4
#: Share of the values, or of their mean square, below which their differences, or their variance, are rounding errors.
_ROUNDING = 1e-12


def padded(rows: Sequence[NDArray[np.floating]], width: int = 0) -> Floats:
    """Return rows of different lengths as `[rows, longest]`, filled up with NaN.

    Args:
        rows: each `[values]`.
        width: minimum length.
    """
    whole = np.full((len(rows), max([width, *map(len, rows)])), np.nan)
    for place, row in enumerate(rows):
        whole[place, : len(row)] = row
    return whole


def song_metrics(prediction: Floats, target: Floats) -> dict[str, Floats]:
    """Return Pearson's r, RMSE and CCC of each song, `[songs]` each.

    The correlations of a constant prediction are 0. They are NaN in a song whose ratings are constant, which has
    nothing to follow. All are NaN if a prediction is not finite.

    Args:
        prediction: `[songs, ratings]`.
        target: `[songs, ratings]`, NaN where the song is not rated.
    """
    rated = np.isfinite(target)
    count = rated.sum(axis=1)

    def deviations(values: Floats) -> tuple[Floats, Floats, NDArray[np.bool_]]:
        """Return the mean, the deviations from it, and whether the values of a song differ."""
        mean = np.where(rated, values, 0.0).sum(axis=1) / count
        highest, lowest = (
            side * np.where(rated, side * values, -np.inf).max(axis=1, initial=-np.inf) for side in (1, -1)
        )
        spread = highest - lowest > _ROUNDING * np.maximum(np.abs(highest), np.abs(lowest))
        return mean, np.where(rated, values - mean[:, None], 0.0), spread

    with np.errstate(all="ignore"):  # of what is not defined, which becomes NaN
        mean_p, p, moves = deviations(prediction)
        mean_t, t, varied = deviations(target)
        variances = (p**2).sum(axis=1) / count, (t**2).sum(axis=1) / count
        covariance = (p * t).sum(axis=1) / count
        r = np.clip(covariance / np.sqrt(variances[0] * variances[1]), -1.0, 1.0)
        ccc = 2 * covariance / (variances[0] + variances[1] + (mean_p - mean_t) ** 2)
        rmse = np.sqrt(np.where(rated, (prediction - target) ** 2, 0.0).sum(axis=1) / count)
    predicted = np.isfinite(np.where(rated, prediction, 0.0)).all(axis=1) & (count > 0)
    defined = predicted & varied
    return {
        "pearson": np.where(defined, np.where(moves, r, 0.0), np.nan),
        "rmse": np.where(predicted, rmse, np.nan),
        "ccc": np.where(defined, np.where(moves, ccc, 0.0), np.nan),
    }


@dataclass(frozen=True)
class MomentError:
    """Error of single moments of ratings over time: 80 % of `moments` moments of `songs` songs were `within` it.

    The moments of a song are alike, so it is less certain than that of as many songs.
    """

    within: float
    moments: int
    songs: int
    #: The same of a constant prediction, the mean rating.
    constant: float


def moment_error(prediction: Floats, target: Floats) -> MomentError | None:
    """Return the 80 % quantile of the absolute errors of all rated moments; None for fewer than four songs.

    Args:
        prediction: `[songs, ratings]`.
        target: `[songs, ratings]`, NaN where the song is not rated.
    """
    rated = np.isfinite(target) & np.isfinite(prediction)
    songs = int(rated.any(axis=1).sum())
    if songs < _LEAST:
        return None
    ratings, predicted = target[rated], prediction[rated]
    within, constant = (
        float(np.quantile(np.abs(guess - ratings), _SHARE, method="higher"))
        for guess in (predicted, ratings.mean())
    )
    return MomentError(within, len(ratings), songs, constant)


class SeriesResampler:
    """Metrics of songs that are drawn with replacement, from sums over the ratings of each song.

    ``song_*`` is the mean over the drawn songs in which the metric is defined; see `song_metrics`. ``pooled_*`` is the
    metric of all their ratings together.

    Args:
        prediction: `[songs, ratings]`.
        target: `[songs, ratings]`, NaN where the song is not rated.
    """

    def __init__(self, prediction: Floats, target: Floats) -> None:
        #: Metric -> `[songs]`.
        self.songs = song_metrics(prediction, target)
        rated = np.isfinite(target)
        self._spoilt = np.asarray((rated & ~np.isfinite(prediction)).any(axis=1))
        usable = rated & ~self._spoilt[:, None]
        # Values less their means, so that the differences of sums below keep their digits.
        p, t = (
            np.where(usable, values - (values[usable].mean() if usable.any() else 0.0), 0.0)
            for values in (prediction, target)
        )
        error = np.where(usable, prediction - target, 0.0)
        columns = [usable, p, t, p**2, t**2, p * t, error, error**2]
        self._sums = np.stack([np.asarray(column, np.float64).sum(axis=1) for column in columns], axis=1)

    def __call__(self, counts: Floats, names: Sequence[str] = SERIES) -> dict[str, Floats]:
        """Return metrics of every resample, `[resamples]` each; NaN where they are not defined.

        Args:
            counts: `[resamples, songs]`: the number of times that each song is drawn.
            names: the metrics.
        """
        scores = self._pooled(counts)
        for metric, values in self.songs.items():
            defined = np.isfinite(values)
            with np.errstate(all="ignore"):  # of draws without a song in which it is defined
                scores[f"song_{metric}"] = (
                    counts @ np.where(defined, values, 0.0) / (counts @ defined.astype(float))
                )
        if self._spoilt.any():
            spoilt = counts[:, self._spoilt].any(axis=1)
            scores = {name: np.where(spoilt, np.nan, values) for name, values in scores.items()}
        return {name: scores[name] for name in names}

    @property
    def deviations(self) -> dict[str, float]:
        """Metric within songs -> its standard deviation over the songs in which it is defined; NaN for fewer than 2."""
        result = {}
        for metric, values in self.songs.items():
            defined = values[np.isfinite(values)]
            result[f"song_{metric}"] = float(defined.std(ddof=1)) if len(defined) > 1 else math.nan
        return result

    def _pooled(self, counts: Floats) -> dict[str, Floats]:
        drawn = counts @ self._sums
        with np.errstate(all="ignore"):  # of draws of songs whose ratings are constant
            means = (drawn / drawn[:, :1]).T
            squares = means[3:5]
            variances = squares - means[1:3] ** 2
            variances = np.where(variances <= _ROUNDING * squares, 0.0, variances)
            covariance = means[5] - means[1] * means[2]
            r = np.clip(covariance / np.sqrt(variances[0] * variances[1]), -1.0, 1.0)
            ccc = 2 * covariance / (variances[0] + variances[1] + means[6] ** 2)
            moves, varied = variances > 0
            return {
                "pooled_pearson": np.where(varied, np.where(moves, r, 0.0), np.nan),
                "pooled_rmse": np.sqrt(means[7]),
                "pooled_ccc": np.where(varied, ccc, np.nan),
            }
