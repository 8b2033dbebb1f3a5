"""Reliability of mean ratings over listeners, and the noise ceiling of predictions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from musicemo.evaluation.evaluation import finite
from musicemo.evaluation.intervals import EvaluationSettings, draw_counts, percentile_intervals
from musicemo.evaluation.metrics import ranks
from musicemo.evaluation.series import SeriesResampler, padded

__all__ = ["RELIABLE", "Reliability", "rating_reliability", "series_reliability"]

#: Correlations whose reliability is estimated: of ratings of tracks, and of ratings over time.
RELIABLE = ("spearman", "pearson", "song_pearson", "pooled_pearson")

Floats = NDArray[np.float64]

#: Number of random splits of the listeners into halves.
_SPLITS = 100

#: Minimum number of tracks for a meaningful correlation.
_FEWEST = 10


@dataclass(frozen=True)
class Reliability:
    """Reliability of the tracks' mean ratings, from random halves of each track's listeners.

    Let r be the correlation of the two halves' mean ratings. The reliability of the whole panel is 2 r / (1 + r)
    (Spearman and Brown): the correlation of its mean ratings with those of another panel of the same size. The ceiling
    is the square root of the reliability: the correlation of a perfect prediction with the mean ratings. It is higher,
    because only the ratings are noisy.

    C. Spearman, "Correlation calculated from faulty data", and W. Brown, "Some experimental results in the correlation
    of mental abilities", both British Journal of Psychology 3, 1910.
    """

    #: Number of tracks with at least two listeners.
    tracks: int
    #: Minimum, median and maximum number of listeners of a track.
    raters: tuple[int, float, int]
    #: Metric of `RELIABLE` -> reliability and its bootstrap interval over tracks.
    values: dict[str, tuple[float, float, float]]

    def ceiling(self, metric: str) -> float:
        """Return the highest correlation that can be expected; NaN if the reliability is not above 0."""
        value = self.values[metric][0]
        return math.sqrt(value) if value > 0 else math.nan

    def to_json(self) -> dict[str, Any]:
        """Return the reliability as in `results.json`, without the share that a model reaches."""
        fewest, median, most = self.raters
        content: dict[str, Any] = {
            "tracks": self.tracks,
            "raters": {"min": fewest, "median": median, "max": most},
            "splits": _SPLITS,
        }
        for metric, (value, low, high) in self.values.items():
            content[metric] = {
                "reliability": {"value": finite(value), "low": finite(low), "high": finite(high)},
                "ceiling": finite(self.ceiling(metric)),
            }
        return content


def rating_reliability(
    ratings: Sequence[Sequence[float]], settings: EvaluationSettings, seed: int = 0
) -> Reliability | None:
    """Return the split-half reliability of mean ratings; None if fewer than ten tracks have two listeners.

    The correlation is the mean over random halves. With an odd number of listeners, one is left out of each split.

    Args:
        ratings: ratings of each track; the listeners of different tracks need not be the same.
        settings: resamples and confidence of the intervals.
        seed: seed of the random halves.
    """
    several = [track_ratings for track_ratings in ratings if len(track_ratings) > 1]
    if len(several) < _FEWEST:
        return None
    first, second = _halves(several, seed)
    values = {
        "spearman": _spearman_brown(ranks(first), ranks(second), settings),
        "pearson": _spearman_brown(first, second, settings),
    }
    counts = [len(track_ratings) for track_ratings in several]
    return Reliability(len(several), (min(counts), float(np.median(counts)), max(counts)), values)


def series_reliability(
    ratings: Sequence[Floats], settings: EvaluationSettings, seed: int = 0
) -> Reliability | None:
    """Return the split-half reliability of mean ratings over time; None if fewer than ten tracks have two listeners.

    The correlations of the halves' mean curves are those within each track, averaged over the tracks, and those of the
    ratings of all tracks together; see `SeriesResampler`.

    Args:
        ratings: of each track `[listeners, times]`, NaN where a listener did not rate.
        settings: resamples and confidence of the intervals.
        seed: seed of the random halves.
    """
    several = [of_track for of_track in ratings if len(of_track) > 1]
    if len(several) < _FEWEST:
        return None
    random = np.random.default_rng(seed)
    halves = [_curves(several, random) for _ in range(_SPLITS)]
    names = ("song_pearson", "pooled_pearson")

    def stepped_up(counts: Floats) -> dict[str, Floats]:
        """Return each metric's 2 r / (1 + r), `[resamples]`, of the mean correlation r over the splits."""
        every = [resampler(counts, names) for resampler in halves]
        means = {name: np.mean([one[name] for one in every], axis=0) for name in names}
        return {name: np.asarray(2 * mean / (1 + mean)) for name, mean in means.items()}

    once = stepped_up(np.ones((1, len(several))))
    resampled = [stepped_up(counts) for counts in draw_counts(len(several), settings.resamples)]
    intervals = percentile_intervals(
        {name: np.concatenate([one[name] for one in resampled]) for name in names}, settings.confidence
    )
    counts = [len(of_track) for of_track in several]
    return Reliability(
        len(several),
        (min(counts), float(np.median(counts)), max(counts)),
        {name: (float(once[name][0]), *intervals[name]) for name in names},
    )


def _curves(ratings: Sequence[Floats], random: np.random.Generator) -> SeriesResampler:
    """Return the scores of the mean curve of a random half of each track's listeners against that of the others."""
    first, second = [], []
    for of_track in ratings:
        order = random.permutation(len(of_track))
        half = len(order) // 2
        means = [_mean(of_track[order[begin : begin + half]]) for begin in (0, half)]
        there = np.isfinite(means[0]) & np.isfinite(means[1])
        first.append(means[0][there])
        second.append(means[1][there])
    return SeriesResampler(padded(first), padded(second))


def _mean(ratings: Floats) -> Floats:
    """Return the mean over the listeners who rated, `[times]`; NaN where none did."""
    rated = np.isfinite(ratings)
    with np.errstate(all="ignore"):
        return np.asarray(np.where(rated, ratings, 0.0).sum(axis=0) / rated.sum(axis=0))


def _halves(ratings: Sequence[Sequence[float]], seed: int) -> tuple[Floats, Floats]:
    """Return `[splits, tracks]` twice: the mean of a random half of each track's ratings, and that of the rest."""
    counts = np.array([len(track_ratings) for track_ratings in ratings])
    padded = np.zeros((len(ratings), counts.max()))
    for row, track_ratings in zip(padded, ratings, strict=True):
        row[: len(track_ratings)] = track_ratings
    random = np.random.default_rng(seed)
    halves = counts[:, None] // 2
    place = np.arange(counts.max())
    coefficients = []
    for _ in range(_SPLITS):
        keys = np.where(
            place < counts[:, None], random.uniform(size=padded.shape), 2.0
        )  # what is padded comes last
        order = np.argsort(keys, axis=1)
        shuffled = np.take_along_axis(padded, order, axis=1)
        coefficients.append(
            [
                np.where((place >= begin) & (place < begin + halves), shuffled, 0).sum(axis=1) / halves[:, 0]
                for begin in (0, halves)
            ]
        )
    first, second = np.array(coefficients).swapaxes(0, 1)
    return first, second


def _spearman_brown(first: Floats, second: Floats, settings: EvaluationSettings) -> tuple[float, float, float]:
    """Return the reliability of both halves together, and its interval."""
    tracks = first.shape[1]
    value = float(_stepped_up(first, second, np.ones((1, tracks)))[0])
    resampled = [_stepped_up(first, second, counts) for counts in draw_counts(tracks, settings.resamples)]
    low, high = percentile_intervals({"": np.concatenate(resampled)}, settings.confidence)[""]
    return value, low, high


def _stepped_up(first: Floats, second: Floats, counts: Floats) -> Floats:
    """Return `[resamples]`: 2 r / (1 + r), of the mean correlation r over the splits."""
    total = counts.sum(axis=1, keepdims=True)
    first, second = first - first.mean(), second - second.mean()

    def mean(values: Floats) -> Floats:
        return np.asarray(counts @ values.T / total)

    with np.errstate(all="ignore"):  # of constant ratings, which leave NaN
        covariance = mean(first * second) - mean(first) * mean(second)
        variances = (mean(first**2) - mean(first) ** 2) * (mean(second**2) - mean(second) ** 2)
        halves = np.where(variances > 1e-20, covariance / np.sqrt(variances), np.nan).mean(axis=1)
        return np.asarray(2 * halves / (1 + halves))
