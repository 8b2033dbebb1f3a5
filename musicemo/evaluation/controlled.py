"""Scores beyond the genre: how much of a correlation is not due to the tracks' groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from musicemo.evaluation.evaluation import TaskEvaluation, finite
from musicemo.evaluation.intervals import (
    EvaluationSettings,
    MidRanks,
    RegressionResampler,
    draw_counts,
    percentile_intervals,
)

__all__ = ["controlled_scores", "group_means"]

Floats = NDArray[np.float64]

#: Minimum number of tracks for the correlation within a group.
_FEWEST = 3


def group_means(groups: Mapping[str, str], train: Sequence[tuple[str, float]]) -> dict[str, float]:
    """Return each track's prediction from its group only: the mean rating of the group in the training set.

    A group that is not in the training set gets the mean of all training tracks.

    Args:
        groups: track id -> group.
        train: group and rating of every track of the training set.
    """
    by_group: dict[str, list[float]] = {}
    for name, rating in train:
        by_group.setdefault(name, []).append(rating)
    means = {name: float(np.mean(ratings)) for name, ratings in by_group.items()}
    overall = float(np.mean([rating for _, rating in train])) if train else 0.0
    return {track: means.get(group, overall) for track, group in groups.items()}


def controlled_scores(
    replicates: Sequence[TaskEvaluation],
    groups: Mapping[str, str],
    alone: Mapping[str, float],
    settings: EvaluationSettings,
) -> dict[str, Any] | None:
    """Compare a regression with the information in the tracks' groups, such as genres.

    Every score is a rank correlation with a bootstrap interval over tracks:

    - ``spearman``: rho of the predictions, as in ``metrics``, over the tracks with a group;
    - ``group_alone``: rho of `alone`, the prediction from the group only;
    - ``gain``: ``spearman`` minus ``group_alone``, on the same resamples;
    - ``within``: mean of the groups' rhos, weighted by their number of tracks minus one. A prediction that is constant
      within a group has rho 0 there. Groups with fewer than three tracks, or with equal ratings, are left out;
    - ``partial``: correlation of the ranks after subtracting each group's mean rank: what the prediction knows
      beyond the group.

    Args:
        replicates: a regression as predicted by each seed, for the same tracks in the same order. Scores and
            resamples are means over the replicates.
        groups: track id -> group; tracks without one are left out.
        alone: track id -> prediction from its group only; see `group_means`.
        settings: resamples and confidence.

    Returns:
        The scores, ``tracks`` and ``groups``: name -> ``tracks``, rho and the ``mean`` of `alone`. None if fewer
        than three tracks remain.
    """
    task = replicates[0]
    places = [place for place, name in enumerate(task.ids) if name in groups]
    if len(places) < _FEWEST:
        return None
    names = sorted({groups[task.ids[place]] for place in places})
    order = {name: code for code, name in enumerate(names)}
    codes = np.array([order[groups[task.ids[place]]] for place in places])
    means = np.array([alone[task.ids[place]] for place in places])
    every = [
        _Scores(task.target[places], one.prediction[places], means, codes, len(names)) for one in replicates
    ]

    def scores(counts: Floats) -> dict[str, Floats]:
        group_scores = [one.of(counts) for one in every]
        return {name: np.mean([one[name] for one in group_scores], axis=0) for name in group_scores[0]}

    once = np.ones((1, len(places)))
    values = scores(once)
    resampled = [scores(counts) for counts in draw_counts(len(places), settings.resamples)]
    joined = {name: np.concatenate([some[name] for some in resampled]) for name in values}
    intervals = percentile_intervals(joined, settings.confidence)
    content: dict[str, Any] = {"tracks": len(places)}
    for name, value in values.items():
        low, high = intervals[name]
        content[name] = {"value": finite(float(value[0])), "low": finite(low), "high": finite(high)}
    rhos = np.mean([one.by_group(once)[:, 0] for one in every], axis=0)
    content["groups"] = {
        name: {
            "tracks": int((codes == code).sum()),
            "spearman": finite(float(rhos[code])),
            "mean": float(means[codes == code].mean()),
        }
        for code, name in enumerate(names)
    }
    return content


class _Scores:
    """Scores of resamples, which are represented by the number of times that each track is drawn."""

    def __init__(
        self, target: Floats, prediction: Floats, means: Floats, codes: NDArray[np.intp], groups: int
    ) -> None:
        self._members = np.eye(groups)[codes]
        self._whole, self._alone = RegressionResampler(prediction, target), RegressionResampler(means, target)
        inside = [np.flatnonzero(codes == code) for code in range(groups)]
        #: Of each group: its tracks, and what resamples them.
        self._groups = [(tracks, RegressionResampler(prediction[tracks], target[tracks])) for tracks in inside]
        self._ranks = MidRanks(prediction), MidRanks(target)
        self._defined = bool(np.isfinite(prediction).all())

    def of(self, counts: Floats) -> dict[str, Floats]:
        """Return each score, `[resamples]`."""
        whole, alone = (of(counts, ["spearman"])["spearman"] for of in (self._whole, self._alone))
        return {
            "spearman": whole,
            "group_alone": alone,
            "gain": whole - alone,
            "within": self._within(counts),
            "partial": self._partial(counts),
        }

    def by_group(self, counts: Floats) -> Floats:
        """Return `[groups, resamples]`: rho within each; NaN where it is not defined."""
        coefficients = np.full((self._members.shape[1], len(counts)), np.nan)
        for code, (tracks, resampler) in enumerate(self._groups):
            drawn = np.take(counts, tracks, axis=1)
            enough = drawn.sum(axis=1) >= _FEWEST
            if len(tracks) >= _FEWEST and enough.any():
                coefficients[code, enough] = resampler(drawn[enough], ["spearman"])["spearman"]
        return coefficients

    def _within(self, counts: Floats) -> Floats:
        rhos = self.by_group(counts)
        weights = np.where(np.isfinite(rhos), (counts @ self._members).T - 1, 0.0)
        with np.errstate(all="ignore"):  # of no group at all, which leaves NaN
            return np.asarray(np.where(weights > 0, weights * rhos, 0.0).sum(axis=0) / weights.sum(axis=0))

    def _partial(self, counts: Floats) -> Floats:
        sizes = counts @ self._members

        def residuals(of: MidRanks) -> Floats:
            ranks = of(counts)
            means = (counts * ranks) @ self._members / np.where(sizes > 0, sizes, 1)
            return np.asarray(ranks - means @ self._members.T)

        if not self._defined:
            return np.full(len(counts), np.nan)
        first, second = (residuals(ranks) for ranks in self._ranks)
        squares = [np.einsum("rn,rn,rn->r", counts, one, one) for one in (first, second)]
        product = np.einsum("rn,rn,rn->r", counts, first, second)
        tiny = 1e-9 * counts.shape[1]  # what rounding leaves of ranks that the groups explain wholly
        with np.errstate(all="ignore"):
            partial = np.where(squares[0] > tiny, product / np.sqrt(squares[0] * squares[1]), 0.0)
        return np.where(squares[1] > tiny, partial, np.nan)
