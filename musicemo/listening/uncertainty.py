"""Errors of a run on held-out tracks, as intervals of new predictions."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from musicemo.comparison import read_replicates
from musicemo.evaluation import MomentError, TaskEvaluation, moment_error, padded
from musicemo.runs import RunRecord

__all__ = ["HeldOut", "RatingError", "read_held_out"]

_SHARE = 0.8
"""Share of the tracks that are within the error."""


@dataclass(frozen=True)
class RatingError:
    """Error of ratings of songs.

    `count` of `tracks` tracks were within `within` of their ratings: the smallest error for which the share is at least
    80 % of one track more than there are. That one is the new song, whose error is within it with a probability of at
    least 80 % if it is exchangeable with them (V. Vovk, A. Gammerman, G. Shafer, "Algorithmic Learning in a Random
    World", Springer 2005).
    """

    within: float
    count: int
    tracks: int
    #: The same of a constant prediction, the mean rating of these tracks.
    constant: float


@dataclass(frozen=True)
class HeldOut:
    """Predictions of held-out tracks: of the test set, with k-fold of all folds; else of the validation set."""

    #: Where they come from: ``in cross-validation``.
    source: str
    #: Task -> evaluations, one per seed and repeat of k-fold.
    tasks: dict[str, list[TaskEvaluation]]

    def span(self, task: str) -> tuple[float, float] | None:
        """Return the lowest and the highest rating of the tracks; None without ratings."""
        several = [one for one in self.tasks.get(task, []) if one.kind in ("regression", "series")]
        ratings = np.concatenate([_song_ratings(one)[0] for one in several]) if several else np.empty(0)
        ratings = ratings[np.isfinite(ratings)]
        return (float(ratings.min()), float(ratings.max())) if len(ratings) else None

    def predictions(self, task: str) -> dict[str, float]:
        """Return track -> predicted rating, the mean over seeds and repeats, and of series over time."""
        means = _means(
            (one.ids, _song_ratings(one)[1])
            for one in self.tasks.get(task, [])
            if one.kind in ("regression", "series")
        )
        return {track: float(mean) for track, mean in means.items()}

    def rating_error(self, task: str) -> RatingError | None:
        """Return the error of a song's rating; None without ratings, or with fewer than four tracks.

        The predictions of several seeds and repeats are averaged, as those of a song are. The rating of a track that
        is rated over time is the mean over the time.
        """
        several = [one for one in self.tasks.get(task, []) if one.kind in ("regression", "series")]
        if not several:
            return None
        predictions = self.predictions(task)
        targets = dict(
            pair for one in several for pair in zip(one.ids, _song_ratings(one)[0].tolist(), strict=True)
        )
        pairs = np.array([(targets[track], predictions[track]) for track in predictions]).reshape(-1, 2)
        ratings, predicted = pairs[np.isfinite(pairs).all(axis=1)].T
        sizes = np.abs(predicted - ratings)
        needed = math.ceil((len(sizes) + 1) * _SHARE)
        if needed > len(sizes):
            return None
        within = float(np.sort(sizes)[needed - 1])
        constant = float(np.sort(np.abs(ratings - ratings.mean()))[needed - 1])
        return RatingError(within, int((sizes <= within).sum()), len(sizes), constant)

    def moment_error(self, task: str) -> MomentError | None:
        """Return the error of a single moment of ratings over time; None without them, or with fewer than four tracks.

        The predictions of several seeds and repeats are averaged.
        """
        series = [one for one in self.tasks.get(task, []) if one.kind == "series"]
        predictions = _means((one.ids, one.rows("prediction")) for one in series)
        targets = {track: row for one in series for track, row in zip(one.ids, one.rows("target"), strict=True)}
        if not targets:
            return None
        return moment_error(padded([predictions[track] for track in targets]), padded(list(targets.values())))

    def precision(self, task: str, label: int) -> tuple[int, int]:
        """Return how many of the predictions of a class or tag were right, and how many there were.

        Each seed and repeat counts. A track without a label for the tag does not count.
        """
        right = count = 0
        for one in self.tasks.get(task, []):
            if one.kind == "tags":
                known = np.isfinite(one.target[:, label]) & (one.prediction[:, label] > 0)
                right += int((one.target[known, label] > 0).sum())
                count += int(known.sum())
            elif one.kind == "classification":
                predicted = one.prediction == label
                right += int((one.target[predicted] == label).sum())
                count += int(predicted.sum())
        return right, count

    def score(self, task: str) -> float:
        """Return the leading metric of a task, the mean over seeds and repeats; NaN without predictions."""
        scores = [one.metric(one.names[0]) for one in self.tasks.get(task, [])]
        return float(np.mean(scores)) if scores else math.nan

    def chance(self, task: str) -> float:
        """Return the leading metric of predictions that do not depend on the track; NaN without predictions."""
        several = self.tasks.get(task, [])
        return several[0].chance if several else math.nan


def read_held_out(records: Sequence[RunRecord]) -> HeldOut:
    """Read the predictions of the replicates of an experiment.

    Raises:
        InputError: a file is damaged, or the runs are not replicates of one experiment.
    """
    sets = [part for part in ("test", "val") if all(record.metrics.get(part) for record in records)]
    if not sets:
        return HeldOut("", {})
    replicates = read_replicates(records, sets[0])
    tasks: dict[str, list[TaskEvaluation]] = {}
    for replicate in replicates.per_seed:
        for name, task in replicate.evaluation.tasks.items():
            tasks.setdefault(name, []).append(task)
    if sets[0] == "val":
        return HeldOut("in the validation set, which also selected the epoch", tasks)
    folds = replicates.folds
    return HeldOut("in cross-validation" if len(folds) > 1 else "in the test set", tasks)


def _means(evaluations: Iterable[tuple[Sequence[str], Iterable[Any]]]) -> dict[str, Any]:
    """Return track -> mean over seeds and repeats, of the ids and the predictions of each."""
    several: dict[str, list[Any]] = {}
    for ids, predictions in evaluations:
        for track, prediction in zip(ids, predictions, strict=True):
            several.setdefault(track, []).append(prediction)
    return {track: np.mean(values, axis=0) for track, values in several.items()}


def _song_ratings(task: TaskEvaluation) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return `[n]` each: the ratings and the predictions of the tracks, of series their means over time."""
    if task.kind == "regression":
        return task.target, task.prediction
    means = []
    for name in ("target", "prediction"):
        means.append(
            np.array(
                [
                    row[rated].mean() if rated.any() else math.nan
                    for row, rated in zip(task.rows(name), map(np.isfinite, task.rows("target")), strict=True)
                ]
            )
        )
    return means[0], means[1]
