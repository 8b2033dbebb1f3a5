"""Metrics of pairs, of which listeners judged which is higher: of a set, and of its resamples."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from musicemo.evaluation.metrics import PAIRS, Floats, Indices

__all__ = ["PairResampler", "connected", "pair_id", "pair_members"]

#: Minimum number of connected groups that are resampled; of fewer, the pairs are.
_FEWEST = 10


def pair_id(first: str, second: str) -> str:
    """Return the id of a pair, a JSON list of the tracks' ids."""
    return json.dumps([first, second], ensure_ascii=False)


def pair_members(name: str) -> tuple[str, str]:
    """Return the tracks' ids from the id of their pair.

    Raises:
        ValueError: it is not the id of a pair.
    """
    try:
        first, second = json.loads(name)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name[:80]!r} is not a JSON list of two ids") from error
    return str(first), str(second)


def connected(links: Indices, count: int) -> Indices:
    """Return the connected group of each of `count` items: the lowest index of an item in it.

    Args:
        links: `[links, 2]`: items that are in the same group.
        count: number of items.
    """
    labels = np.arange(count)
    while len(links):
        lowest = labels.copy()
        for one, other in ((0, 1), (1, 0)):
            np.minimum.at(lowest, links[:, one], labels[links[:, other]])
        lowest = lowest[lowest]
        if np.array_equal(lowest, labels):
            break
        labels = lowest
    return labels


class PairResampler:
    """Metrics of pairs of resamples.

    Pairs that share a track are not independent. The bootstrap therefore draws connected groups of pairs: those that
    share tracks, directly or through other pairs. If there are fewer than ten groups, it draws single pairs.

    Args:
        scores: `[pairs, 2]`: predicted scores of the two tracks.
        listeners: `[pairs, 2]`: number of listeners for whom each of the two is the higher one.
        ids: ids of the pairs.
    """

    def __init__(self, scores: Floats, listeners: Floats, ids: Sequence[str]) -> None:
        self._defined = bool(np.isfinite(scores).all())
        with np.errstate(invalid="ignore"):  # of scores that are not finite
            first = 0.5 + 0.5 * np.sign(scores[:, 0] - scores[:, 1])  # 1 if the first is predicted to be higher
        total = listeners.sum(axis=1)
        majority = np.sign(listeners[:, 0] - listeners[:, 1])
        agreeing = np.where(majority > 0, first, 1 - first)
        votes = listeners[:, 0] * first + listeners[:, 1] * (1 - first)
        decided = majority != 0
        columns = np.stack([np.where(decided, agreeing, 0.0), decided, votes, total], axis=1)
        #: Share of the listeners' judgements that agree with the majority: the highest possible vote accuracy.
        self.agreement = float(listeners.max(axis=1, initial=0.0).sum() / total.sum()) if len(ids) else np.nan
        groups = _groups(ids)
        #: Number of units that a resample draws.
        self.units = int(groups.max(initial=-1)) + 1
        self._sums = np.zeros((self.units, 4))
        np.add.at(self._sums, groups, columns)

    def __call__(self, counts: Floats, names: Sequence[str] = PAIRS) -> dict[str, Floats]:
        """Return metrics of every resample, `[resamples]` each; NaN where they are not defined.

        ``pair_accuracy`` is the share of pairs whose higher track is predicted, by the majority of the listeners; pairs
        without a majority are left out. ``vote_accuracy`` is the share of all listeners' judgements that are predicted.
        Equal scores count half.

        Args:
            counts: `[resamples, units]`: the number of times that each unit is drawn.
            names: the metrics.
        """
        agreeing, decided, votes, total = (counts @ self._sums).T
        if not self._defined:
            agreeing, votes = np.full_like(agreeing, np.nan), np.full_like(votes, np.nan)
        with np.errstate(invalid="ignore"):  # of resamples without a decided pair
            scores = {"pair_accuracy": agreeing / decided, "vote_accuracy": votes / total}
        return {name: scores[name] for name in names}


def _groups(ids: Sequence[str]) -> NDArray[np.intp]:
    """Return the unit of each pair."""
    members = np.array([pair_members(name) for name in ids], dtype=object).reshape(-1, 2)
    tracks, links = np.unique(members.astype(str), return_inverse=True)
    links = links.reshape(-1, 2)
    groups = np.unique(connected(links, len(tracks))[links[:, 0]], return_inverse=True)[1]
    return np.asarray(groups if groups.max(initial=-1) + 1 >= _FEWEST else np.arange(len(ids)), dtype=np.intp)
