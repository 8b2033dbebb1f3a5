"""Tracks and artists that joined datasets share, and whether the datasets agree on the labels."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real

import numpy as np
from numpy.typing import NDArray

from musicemo.contracts import Target, Track
from musicemo.data.same import EVIDENCE, Evidence, Same, artist_key
from musicemo.data.tracks import Origin, Tracks

__all__ = ["Correlation", "Overlap", "compare_datasets"]

#: Fewer ratings than this are not compared: their correlation is too uncertain.
_FEWEST = 10

#: Standard deviations by which a correlation must exceed that of the declared pair, or be below 0.
_SURE = 3.0

#: Fraction of shared tracks in different classes from which on the datasets contradict each other.
_DIFFERENT = 0.1


@dataclass(frozen=True)
class Correlation:
    """Pearson's correlation of a target of one dataset with a target of another."""

    first: str
    second: str
    value: float
    #: Number of shared tracks that have both.
    tracks: int
    #: Task that has both as its target; empty for other pairs.
    task: str = ""


@dataclass(frozen=True)
class Overlap:
    """The tracks that two joined datasets share, and how their labels agree."""

    first: str
    second: str
    #: Number of shared tracks, and how they were recognized.
    shared: int
    evidence: Sequence[Evidence]
    #: The ids of the first three of them in both datasets.
    examples: Sequence[tuple[str, str]]
    #: Number of artists (groups) that both have, in any spelling.
    artists: int
    #: All pairs of regression targets.
    correlations: Sequence[Correlation]
    #: Classification task -> number of shared tracks with a class in both, and of those in different classes.
    classes: Mapping[str, tuple[int, int]]
    #: Clauses about labels that contradict each other.
    conflicts: Sequence[str]
    #: Task -> dataset -> the target that agrees better.
    remedy: Mapping[str, Mapping[str, str]]

    @property
    def warning(self) -> str:
        """A sentence about the labels that contradict each other; empty if none do."""
        if not self.conflicts:
            return ""
        text = (
            f"labels of {self.first} and {self.second} contradict each other on {self.shared} shared tracks: "
            f"{'; '.join(self.conflicts)}"
        )
        if not self.remedy:
            return f"{text}. Check the labels of both datasets, or train on one of them"
        tables = " and ".join(
            f"tasks.{task}.target = {_toml(targets)}" for task, targets in self.remedy.items()
        )
        return f"{text}. Check which dataset is right. {tables} joins the targets that agree"


def _toml(targets: Mapping[str, str]) -> str:
    return f"{{ {', '.join(f'{name} = {json.dumps(target)}' for name, target in targets.items())} }}"


def compare_datasets(tracks: Tracks, same: Sequence[Same]) -> list[Overlap]:
    """Compare every two joined datasets that share tracks or artists.

    On shared tracks, Pearson's correlation is computed for all pairs of regression targets. A pair that is not declared
    agrees better than the declared pair if its correlation exceeds the other by three standard errors of the difference
    between dependent correlations: X.-L. Meng, R. Rosenthal, D. B. Rubin, "Comparing correlated correlation
    coefficients", Psychological Bulletin 111(1), 1992.

    Args:
        tracks: the tracks of the joined datasets.
        same: the tracks that are the same music.
    """
    groups = {
        name: {artist_key(group) for index in indices if (group := tracks.tracks[index].group) is not None}
        for name, indices in tracks.sources.items()
    }
    overlaps = []
    for first, second in itertools.combinations(groups, 2):
        pairs: list[tuple[int, int]] = []
        evidence: set[Evidence] = set()
        for one in same:
            places: dict[str | None, int] = {}
            for index in one.members:
                places.setdefault(tracks.tracks[index].source, index)
            if first in places and second in places:
                pairs.append((places[first], places[second]))
                evidence |= set(one.evidence)
        artists = len(groups[first] & groups[second])
        if pairs or artists:
            overlaps.append(_compare(tracks, first, second, pairs, evidence, artists))
    return overlaps


Ratings = Mapping[tuple[str, str], NDArray[np.float64]]
"""Dataset and target -> ratings of the shared tracks, `[tracks]`, NaN where missing."""


def _compare(
    tracks: Tracks,
    first: str,
    second: str,
    pairs: Sequence[tuple[int, int]],
    evidence: Collection[Evidence],
    artists: int,
) -> Overlap:
    ratings = {
        (dataset, target.name): _ratings([tracks.tracks[pair[side]] for pair in pairs], target)
        for side, dataset in enumerate((first, second))
        for target in tracks.origins[dataset].targets
        if target.kind == "regression"
    }
    correlations = _correlations(ratings, tracks.origins, first, second)
    classes = _compare_classes(tracks, pairs)
    conflicts = [
        f"{task}: {different} of {count} have another class"
        for task, (count, different) in classes.items()
        if different > _DIFFERENT * count
    ]
    remedy: dict[str, dict[str, str]] = {}
    for declared in correlations:
        if not declared.task or declared.tracks < _FEWEST:
            continue
        if better := _better(declared, correlations, ratings, first, second):
            conflicts.append(_sentence(declared, better, first, second))
            remedy[declared.task] = {first: better.first, second: better.second}
        elif _fisher(declared.value) * math.sqrt(declared.tracks - 3) < -_SURE:
            conflicts.append(
                f"{first} {declared.first} correlates {declared.value:.3f} with {second} {declared.second}, as if one "
                "of the scales were reversed"
            )
    return Overlap(
        first=first,
        second=second,
        shared=len(pairs),
        evidence=[one for one in EVIDENCE if one in evidence],
        examples=[(tracks.tracks[one].id, tracks.tracks[other].id) for one, other in pairs[:3]],
        artists=artists,
        correlations=correlations,
        classes=classes,
        conflicts=conflicts,
        remedy=remedy,
    )


def _ratings(tracks: Sequence[Track], target: Target) -> NDArray[np.float64]:
    """Return the ratings of a target of the tracks' own dataset, `[tracks]`, NaN where missing."""
    labels = [(track.original or track).targets.get(target.name) for track in tracks]
    return np.array([label if isinstance(label, Real) else math.nan for label in labels], dtype=float)


def _correlations(
    ratings: Ratings, origins: Mapping[str, Origin], first: str, second: str
) -> list[Correlation]:
    tasks = {
        (target, origins[second].tasks[task]): task
        for task, target in origins[first].tasks.items()
        if task in origins[second].tasks
    }
    correlations = []
    for (one, a), (other, b) in itertools.product(ratings, ratings):
        if (one, other) == (first, second):
            both = np.isfinite(ratings[one, a]) & np.isfinite(ratings[other, b])
            value = _pearson(ratings[one, a][both], ratings[other, b][both])
            if math.isfinite(value):
                correlations.append(Correlation(a, b, value, int(both.sum()), tasks.get((a, b), "")))
    return correlations


def _pearson(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Return Pearson's correlation; NaN if it is not defined."""
    if len(first) < 3:
        return math.nan
    a, b = first - first.mean(), second - second.mean()
    scale = math.sqrt(float(a @ a) * float(b @ b))
    return float(a @ b) / scale if scale > 0 else math.nan


def _fisher(value: float) -> float:
    """Return Fisher's transformation of a correlation; that of ±1 is finite."""
    return math.atanh(float(np.clip(value, -1 + 1e-9, 1 - 1e-9)))


def _better(
    declared: Correlation, correlations: Sequence[Correlation], ratings: Ratings, first: str, second: str
) -> Correlation | None:
    """Return the pair that surely agrees better than the declared pair, and best of those.

    It has the first dataset's target of the declared pair; only if there is none, that of the second dataset.
    """

    def best(others: Sequence[Correlation], dataset: str, name: str) -> Correlation | None:
        sure = []
        for other in others:
            one, another = ratings[dataset, getattr(declared, name)], ratings[dataset, getattr(other, name)]
            both = np.isfinite(one) & np.isfinite(another)
            between = _pearson(one[both], another[both])
            count = min(declared.tracks, other.tracks)
            if math.isfinite(between) and _excess(other.value, declared.value, between, count) > _SURE:
                sure.append(other)
        return max(sure, key=lambda other: other.value, default=None)

    others = [one for one in correlations if one is not declared]
    return best([one for one in others if one.first == declared.first], second, "second") or best(
        [one for one in others if one.second == declared.second], first, "first"
    )


def _excess(value: float, other: float, between: float, count: int) -> float:
    """Return by how many standard errors a correlation exceeds another with the same variable.

    Args:
        value: the correlation.
        other: the other correlation.
        between: the correlation of the two variables that differ.
        count: number of tracks.
    """
    squares = (value**2 + other**2) / 2
    if squares >= 1:
        return 0.0
    f = min((1 - between) / (2 * (1 - squares)), 1.0)
    h = (1 - f * squares) / (1 - squares)
    error = math.sqrt(2 * (1 - between) * h / (count - 3))
    difference = _fisher(value) - _fisher(other)
    return difference / error if error > 0 else math.copysign(math.inf, difference) if difference else 0.0


def _sentence(declared: Correlation, better: Correlation, first: str, second: str) -> str:
    if better.first == declared.first:
        subject, partner, names = f"{first} {declared.first}", second, (better.second, declared.second)
    else:
        subject, partner, names = f"{second} {declared.second}", first, (better.first, declared.first)
    return (
        f"{subject} correlates {better.value:.3f} with {partner} {names[0]}, {declared.value:.3f} with "
        f"{partner} {names[1]}"
    )


def _compare_classes(tracks: Tracks, pairs: Sequence[tuple[int, int]]) -> dict[str, tuple[int, int]]:
    """Return classification task -> number of pairs with a class in both tracks, and with different classes."""
    counts = {}
    for task in tracks.tasks:
        if task.kind == "classification":
            _, values = tracks.column(task.name)
            first, second = (values[[pair[side] for pair in pairs]] for side in (0, 1))
            both = np.isfinite(first) & np.isfinite(second)
            if both.any():
                counts[task.name] = int(both.sum()), int((first[both] != second[both]).sum())
    return counts
