"""Ratings over time and the steps of features: from one to the other, and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from musicemo.contracts import ArrayFile, Series, Track
from musicemo.errors import InputError
from musicemo.features import StoredArray

__all__ = ["TimedRatings", "at_times", "onto_steps", "smoothed", "step_edges", "timed"]

Floats = NDArray[np.float64]

#: Seconds within which two times are the same.
_TOLERANCE = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class TimedRatings:
    """The ratings of one track over time, in [0, 1], at their own times and on the steps of its features.

    Attributes:
        times: `[ratings]`, in seconds from the start of the audio or of the ready-made array.
        values: `[ratings]`, all finite.
        edges: `[time + 1]`: the edges of the steps in seconds.
        steps: `[time]`, float32: see `onto_steps`.
    """

    times: Floats
    values: Floats
    edges: Floats
    steps: NDArray[np.float32]


def timed(series: Series, edges: Floats) -> TimedRatings | None:
    """Return the ratings that lie within the steps of the features, with half a rating's period of tolerance.

    None if there is none.
    """
    slack = 0.5 / series.rate
    times = series.times
    there = np.isfinite(series.values) & (times >= edges[0] - slack) & (times <= edges[-1] + slack)
    if not there.any():
        return None
    values = np.where(there, series.values, np.nan)
    steps = onto_steps(Series(values, series.start, series.rate), edges)
    return TimedRatings(times[there], values[there], edges, steps)


def onto_steps(series: Series, edges: Floats) -> NDArray[np.float32]:
    """Return `[time]`: the mean over each step of the line through the ratings; NaN where there is none.

    The line connects successive ratings, and has gaps where a time is not rated. A step that it does not cross, but
    that has a rating on its first edge or between gaps, has the mean of its ratings. So `at_times` gives back what
    changes linearly, whatever the steps.

    Args:
        series: the ratings.
        edges: `[time + 1]`, the edges of the steps in seconds, ascending.
    """
    times, values = series.times, np.asarray(series.values, np.float64)
    rated = np.isfinite(values)
    place = np.searchsorted(edges - _TOLERANCE, times[rated], side="right") - 1
    place = np.clip(place, 0, len(edges) - 2)
    counts = np.bincount(place, minlength=len(edges) - 1)
    sums = np.bincount(place, weights=values[rated], minlength=len(edges) - 1)
    area, length = (np.diff(one) for one in _integral(series, edges))
    with np.errstate(all="ignore"):  # of steps without a rating, which become NaN
        return np.where(length > _TOLERANCE, area / length, sums / counts).astype(np.float32)


def _integral(series: Series, until: Floats) -> tuple[Floats, Floats]:
    """Return the area under the line through the ratings up to some times, and the time in which there is a line."""
    values = np.asarray(series.values, np.float64)
    if len(values) < 2:
        return np.zeros(len(until)), np.zeros(len(until))
    first, last = values[:-1], values[1:]
    there = np.isfinite(first) & np.isfinite(last)
    first, change = np.where(there, first, 0.0), np.where(there, last - first, 0.0)
    area, length = (
        np.concatenate([[0.0], np.cumsum(one)]) for one in (first + change / 2, there.astype(np.float64))
    )
    passed = np.clip((until - series.start) * series.rate, 0.0, len(values) - 1.0)
    piece = np.minimum(passed.astype(np.intp), len(first) - 1)
    share = passed - piece
    return (
        (area[piece] + first[piece] * share + change[piece] * share**2 / 2) / series.rate,
        (length[piece] + there[piece] * share) / series.rate,
    )


def at_times(values: Floats, edges: Floats, times: Floats) -> Floats:
    """Return `[times]`: values of steps at other times, linear between the middles of the steps, constant beyond them.

    Args:
        values: `[time]`.
        edges: `[time + 1]`, in seconds, ascending.
        times: `[times]`, in seconds.
    """
    return np.interp(times, (edges[:-1] + edges[1:]) / 2, values)


def smoothed(values: Floats, edges: Floats, seconds: float | None) -> Floats:
    """Return `[time]`: the mean over a window of `seconds` around the middle of each step, cut off at both ends.

    A step counts with the time that it shares with the window. None leaves the values as they are.

    Args:
        values: `[time]`.
        edges: `[time + 1]`, in seconds, ascending.
        seconds: length of the window.
    """
    if seconds is None or not len(values):
        return values
    first_value = values[0]  # a constant stays one, without rounding errors that correlate with something
    total = np.concatenate([[0.0], np.cumsum((values - first_value) * np.diff(edges))])
    middles = (edges[:-1] + edges[1:]) / 2
    ends = [np.clip(middles + side * seconds / 2, edges[0], edges[-1]) for side in (-1, 1)]
    first, last = (np.interp(end, edges, total) for end in ends)
    return np.asarray(first_value + (last - first) / (ends[1] - ends[0]))


def step_edges(track: Track, rate: float | None, offset: float = 0.0) -> Floats:
    """Return `[time + 1]`: the edges of the steps of a track's features in seconds.

    Args:
        track: the track, with its features.
        rate: steps per second of arrays in memory, if the dataset declares it.
        offset: time of the first sample of an excerpt.

    Raises:
        InputError: the times are not known.
    """
    features = track.features
    if isinstance(features, Path):
        features = ArrayFile(features)
    if isinstance(features, ArrayFile):
        features = StoredArray(features)
    if isinstance(features, np.ndarray):
        edges = None if rate is None else np.arange(len(features) + 1) / rate
    else:
        edges = getattr(features, "edges", None)
    if edges is None:
        raise InputError(
            f"track {track.id!r}: its features have no times, which ratings over time need. Declare the time steps per "
            'second of ready-made arrays with rate in [features] (type = "arrays"), or as the attribute rate of the '
            "dataset; or use audio"
        )
    return np.asarray(edges, np.float64) + offset


def mean_rating(ratings: Sequence[TimedRatings | None]) -> Floats:
    """Return `[tracks]`: the mean of each track's ratings over time; NaN for a track without any."""
    return np.array([np.nan if one is None else one.values.mean() for one in ratings])
