"""Metrics of tags, several labels at once, in numpy: of a set, of its resamples, and the thresholds of decisions.

The values equal those of scikit-learn, whose import would take a second of every command.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from musicemo.evaluation.metrics import TAGS, Floats

__all__ = ["DEFAULT_THRESHOLD", "TagResampler", "choose_thresholds", "tags"]

Booleans = NDArray[np.bool_]

#: Threshold of a tag whose F1 score is not defined on the validation set.
DEFAULT_THRESHOLD = 0.5

#: Resampled pairs of a track and a tag held at once.
_AT_ONCE = 1_000_000


def tags(probabilities: Floats, decisions: Booleans, target: Floats, names: Sequence[str]) -> dict[str, Any]:
    """Return macro and micro PR-AUC, ROC-AUC and F1, ``per_tag`` the same of each tag, and ``left_out``.

    PR-AUC is the average precision: sum_k (R[k] - R[k-1]) P[k], with precision P and recall R of the tracks up to the
    k-th highest probability, equal ones together. ROC-AUC is the share of pairs of a track with the tag and a track
    without it in which the first has the higher probability; equal ones count half. Macro scores are means over the
    tags that some tracks of the set have and others do not have; the other tags are ``left_out``. Micro scores are
    those of all pairs of a track and a tag together. Pairs whose target is unknown are ignored.

    Args:
        probabilities: `[n, tags]`.
        decisions: `[n, tags]`: whether each tag is predicted; see `choose_thresholds`.
        target: `[n, tags]`: 1 if the tag applies, 0 if not, NaN if unknown.
        names: the tags.
    """
    resampler = TagResampler(probabilities, decisions, target)
    once = np.ones((1, len(target)))
    of_tags = {name: values[0] for name, values in resampler.by_tag(once).items()}
    labeled, having = np.isfinite(target), target == 1
    hits, predicted, support = (one.sum(axis=0) for one in (decisions & having, decisions & labeled, having))
    with np.errstate(all="ignore"):  # of a tag that is never predicted, or that no track has
        precision, recall = hits / predicted, hits / support
    rows = {**of_tags, "precision": precision, "recall": recall}
    return {
        **{name: float(values[0]) for name, values in resampler(once).items()},
        "per_tag": {
            name: {
                **{key: float(row[place]) if np.isfinite(row[place]) else None for key, row in rows.items()},
                "support": int(support[place]),
                "tracks": int(labeled[:, place].sum()),
            }
            for place, name in enumerate(names)
        },
        "left_out": [name for place, name in enumerate(names) if not resampler.scored[place]],
    }


class TagResampler:
    """Metrics of tags of resamples; see `tags` for the arguments and the metrics."""

    def __init__(self, probabilities: Floats, decisions: Booleans, target: Floats) -> None:
        labeled, self._with = np.isfinite(target), (target == 1).astype(np.float64)
        self._without = (target == 0).astype(np.float64)
        self._hits = decisions * self._with
        self._predicted = (decisions & labeled).astype(np.float64)
        #: `[tags]`: whether some tracks have the tag and others do not.
        self.scored = self._with.any(axis=0) & self._without.any(axis=0)
        self._defined = bool(np.isfinite(probabilities).all())
        self._of_tags = [
            _Curves(column[there], truth[there], np.flatnonzero(there))
            for column, truth, there in zip(probabilities.T, target.T, labeled.T, strict=True)
        ]
        self._of_pairs = _Curves(probabilities[labeled], target[labeled], np.nonzero(labeled)[0])

    def __call__(self, counts: Floats, names: Sequence[str] = TAGS) -> dict[str, Floats]:
        """Return metrics of every resample, `[resamples]` each; NaN where they are not defined.

        Args:
            counts: `[resamples, n]`: the number of times that each track is drawn.
            names: the metrics.
        """
        scores: dict[str, Floats] = {}
        if {"pr_auc", "roc_auc", "macro_f1"} & set(names):
            of_tags = self.by_tag(counts, curves=bool({"pr_auc", "roc_auc"} & set(names)))
            scores |= {{"f1": "macro_f1"}.get(name, name): _mean(values) for name, values in of_tags.items()}
        if {"micro_pr_auc", "micro_roc_auc"} & set(names):
            scores["micro_pr_auc"], scores["micro_roc_auc"] = self._curves(self._of_pairs, counts)
        if "micro_f1" in names:
            scores["micro_f1"] = _f1(*(one.sum(axis=1) for one in self._counted(counts)))
        return {name: scores[name] for name in names}

    def by_tag(self, counts: Floats, *, curves: bool = True) -> dict[str, Floats]:
        """Return `[resamples, tags]` of ``pr_auc``, ``roc_auc`` and ``f1``; NaN for tags that are left out."""
        hits, predicted, support = self._counted(counts)
        scored = (support > 0) & (counts @ self._without > 0)
        scores = {"f1": np.where(scored, _f1(hits, predicted, support), np.nan)}
        if curves:
            both = [self._curves(one, counts) for one in self._of_tags]
            precise, ranked = (np.stack([pair[place] for pair in both], axis=1) for place in (0, 1))
            scores = {"pr_auc": precise, "roc_auc": ranked, **scores}
        return scores

    def _counted(self, counts: Floats) -> tuple[Floats, Floats, Floats]:
        """Return `[resamples, tags]` three times: correct predictions, predictions, tracks with the tag."""
        return counts @ self._hits, counts @ self._predicted, counts @ self._with

    def _curves(self, curves: _Curves, counts: Floats) -> tuple[Floats, Floats]:
        if not self._defined:
            return np.full(len(counts), np.nan), np.full(len(counts), np.nan)
        at_once = max(1, _AT_ONCE // max(len(curves.tracks), 1))
        blocks = [curves(counts[start : start + at_once]) for start in range(0, len(counts), at_once)]
        precise, ranked = zip(*blocks, strict=True)
        return np.concatenate(precise), np.concatenate(ranked)


class _Curves:
    """Areas under the precision-recall curve and the ROC curve of one ranking.

    Args:
        scores: `[m]`.
        target: `[m]`: 1 or 0.
        tracks: `[m]`: index of the track of each score.
    """

    def __init__(self, scores: Floats, target: Floats, tracks: NDArray[np.intp]) -> None:
        order = np.argsort(-scores, kind="stable")
        self.tracks = tracks[order]
        ends = np.flatnonzero(np.diff(scores[order], append=np.nan) != 0)
        groups = np.searchsorted(ends, np.arange(len(order)))
        self._positives = np.flatnonzero(target[order] == 1)
        #: Of the groups of equal scores with a positive one: where its positives begin among all, and its last score.
        hit, self._begins = np.unique(groups[self._positives], return_index=True)
        starts, stops = np.where(hit > 0, ends[hit - 1] + 1, 0), ends[hit] + 1
        #: Where the runs of scores begin between which the groups with a positive one start and stop.
        self._runs = np.unique(np.concatenate([[0], starts, stops[stops < len(order)]]))
        self._starts, self._stops = (np.searchsorted(self._runs, edges) for edges in (starts, stops))

    def __call__(self, counts: Floats) -> tuple[Floats, Floats]:
        """Return PR-AUC and ROC-AUC of resamples, `[resamples]` each, from counts `[resamples, n]`."""
        if not len(self._positives):
            return np.full(len(counts), np.nan), np.full(len(counts), np.nan)
        # Sums of counts are whole numbers, which single precision holds up to 16 million.
        drawn = np.take(counts.astype(np.float32), self.tracks, axis=1)
        gained = np.add.reduceat(drawn[:, self._positives], self._begins, axis=1).astype(np.float64)
        hits = np.cumsum(gained, axis=1)
        total = np.zeros((len(counts), len(self._runs) + 1))
        np.cumsum(np.add.reduceat(drawn, self._runs, axis=1), axis=1, dtype=np.float64, out=total[:, 1:])
        reached, before = total[:, self._stops], total[:, self._starts]
        positive = hits[:, -1]
        negative = total[:, -1] - positive
        with np.errstate(all="ignore"):  # of resamples that have only tracks with the tag, or none
            precision = np.where(reached > 0, hits / reached, 0.0)
            precise = np.einsum("rk,rk->r", gained, precision) / positive
            above = (reached + before - 2 * hits + gained) / 2  # negatives with a higher score, equal ones half
            ranked = np.einsum("rk,rk->r", gained, negative[:, None] - above) / (positive * negative)
        defined = (positive > 0) & (negative > 0)
        return np.where(defined, precise, np.nan), np.where(defined, ranked, np.nan)


def choose_thresholds(probabilities: Floats, target: Floats) -> Floats:
    """Return `[tags]`: the threshold of each tag's probability with the highest F1 score on a set.

    A tag is predicted if its probability is at least the threshold, which lies halfway between two probabilities of the
    set. Of equal scores, the highest threshold is taken. The threshold of a tag that no track has is 0.5, since its F1
    score is not defined.

    Args:
        probabilities: `[n, tags]`, of the validation set.
        target: `[n, tags]`: 1, 0, or NaN where unknown.
    """
    return np.array([_threshold(*pair) for pair in zip(probabilities.T, target.T, strict=True)])


def _threshold(scores: Floats, target: Floats) -> float:
    labeled = np.isfinite(target) & np.isfinite(scores)
    scores, target = scores[labeled], target[labeled]
    if not (target == 1).any():
        return DEFAULT_THRESHOLD
    order = np.argsort(-scores, kind="stable")
    scores = scores[order]
    ends = np.flatnonzero(np.diff(scores, append=np.nan) != 0)
    hits = np.cumsum(target[order])[ends]
    best = int(ends[np.argmax(_f1(hits, ends + 1.0, np.full(len(ends), hits[-1])))])
    below = scores[best + 1] if best + 1 < len(scores) else 0.0
    return float((scores[best] + below) / 2)


def _f1(hits: NDArray[Any], predicted: NDArray[Any], support: NDArray[Any]) -> Floats:
    """Return the F1 scores; 0 for a tag that is neither predicted nor there."""
    return np.asarray(2 * hits / np.maximum(predicted + support, 1))


def _mean(values: Floats) -> Floats:
    """Return the mean over the last axis of the values that are defined; NaN if none is."""
    defined = np.isfinite(values)
    with np.errstate(all="ignore"):
        return np.asarray(np.where(defined, values, 0.0).sum(axis=-1) / defined.sum(axis=-1))
