"""Summary of a dataset and its split."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from musicemo.contracts import Track
from musicemo.data.features import Features
from musicemo.data.overlap import Overlap, compare_datasets
from musicemo.data.pairs import Pairs
from musicemo.data.same import EVIDENCE, Evidence, Same, artist_key, find_same, recordings
from musicemo.data.series import TimedRatings
from musicemo.data.splits import PARTS, Split
from musicemo.data.tasks import Task, columns, labelled, tags_of
from musicemo.data.tracks import Tracks

__all__ = ["Summary", "find_leaks", "find_shared", "summarize"]


@dataclass(frozen=True)
class Summary:
    """Counts and distributions, as plain values for JSON."""

    tracks: int
    unlabelled: int
    #: Part -> number of tracks, and their hash.
    parts: Mapping[str, int]
    split_hash: str
    #: Dataset -> part -> tracks, where several are joined.
    datasets: Mapping[str, Mapping[str, int]]
    #: Time steps of a track: part -> minimum, median, maximum.
    frames: Mapping[str, Sequence[float]]
    #: Name of the time steps: ``beats``, ``frames``, ``segments``; ``time steps`` if it is unknown.
    steps: str
    feature_rows: int
    #: Task with ratings -> part -> count, missing, minimum, quartiles and maximum, in its own units. Of ratings over
    #: time, ``count`` and ``missing`` are numbers of tracks, and the others are of all their ratings.
    ratings: Mapping[str, Mapping[str, Mapping[str, float]]]
    #: Classification or tags -> class or tag after merging, or "missing" -> tracks by part.
    classes: Mapping[str, Mapping[str, Mapping[str, int]]]
    #: Classification or tags -> class or tag of the dataset -> its tracks, and what it becomes (None: dropped).
    merged: Mapping[str, Mapping[str, Mapping[str, Any]]]
    #: The tasks with tags.
    tagged: Sequence[str]
    #: Task with pairs -> part -> its pairs, and ``dropped``: those whose tracks are in different sets.
    pairs: Mapping[str, Mapping[str, int]]
    #: Sentences about leaks between the sets.
    leaks: Sequence[str]
    #: Sentences about the same music several times in one set.
    repeated: Sequence[str]
    #: Every two joined datasets that share tracks or artists.
    overlaps: Sequence[Overlap]
    #: Whether the sound of audio files was compared.
    heard: bool


def summarize(
    tracks: Tracks, split: Split, features: Features, alike: Sequence[tuple[int, int]] | None = None
) -> Summary:
    """Summarize an experiment's tracks.

    Args:
        tracks: the tracks.
        split: their sets.
        features: their unscaled features. Each is read once, to detect equal ones.
        alike: pairs of tracks that sound the same, see `sounding_alike`; None if their sound was not compared.
    """
    same = find_same(recordings(tracks, split, features), alike or ())
    lengths = {part: features.lengths[split.parts[part]] for part in PARTS if len(split.parts[part])}
    ratings: dict[str, Any] = {}
    classes: dict[str, Any] = {}
    merged: dict[str, Any] = {}
    places = columns(tracks.tasks)
    for task in tracks.tasks:
        if task.kind == "series":
            ratings[task.name] = {
                part: _over_time(task, [tracks.series[task.name][index] for index in split.parts[part]])
                for part in PARTS
            }
            continue
        if task.kind == "pairs":
            continue
        values = {part: tracks.targets[split.parts[part], places[task.name]] for part in PARTS}
        if task.kind == "regression":
            ratings[task.name] = {
                part: _distribution(task.decode(values_of_part)) for part, values_of_part in values.items()
            }
            continue
        every = [*tracks.tracks, *tracks.unlabelled]
        labels = [track.targets.get(task.target) for track in every]
        before = Counter(
            name for label in labels for name in (tags_of(label) if task.kind == "tags" else [label])
        )
        counts = {part: _count(task, values_of_part) for part, values_of_part in values.items()}
        classes[task.name] = {
            name: {part: counts[part][index] for part in PARTS} for index, name in enumerate(task.classes)
        }
        classes[task.name] |= {
            "missing": {part: int((~labelled(values_of_part)).sum()) for part, values_of_part in values.items()}
        }
        merged[task.name] = {
            name: {"tracks": before[name], "becomes": task.merged[name]} for name in sorted(task.merged)
        }
    return Summary(
        tracks=len(tracks),
        unlabelled=len(tracks.unlabelled),
        parts={part: len(split.parts[part]) for part in PARTS},
        split_hash=split.hashes["all"],
        datasets={
            name: {part: len(np.intersect1d(members, split.parts[part])) for part in PARTS}
            for name, members in tracks.sources.items()
        },
        frames={
            part: [float(f(values_of_part)) for f in (np.min, np.median, np.max)]
            for part, values_of_part in lengths.items()
        },
        steps=tracks.steps,
        feature_rows=features.size,
        ratings=ratings,
        classes=classes,
        merged=merged,
        tagged=[task.name for task in tracks.tasks if task.kind == "tags"],
        pairs={name: _count_pairs(pairs, split) for name, pairs in tracks.pairs.items()},
        leaks=find_leaks(tracks.tracks, split, same),
        repeated=find_shared(tracks.tracks, split, same, crossing=False),
        overlaps=compare_datasets(tracks, same),
        heard=alike is not None,
    )


def _count_pairs(pairs: Pairs, split: Split) -> dict[str, int]:
    counts = {part: len(pairs.within(split.parts[part])) for part in PARTS}
    return {**counts, "dropped": len(pairs) - sum(counts.values())}


def _count(task: Task, values: np.ndarray[Any, np.dtype[np.float64]]) -> list[int]:
    """Return the number of tracks of each class, or with each tag."""
    if task.kind == "tags":
        return [int(count) for count in (values == 1).sum(axis=0)]
    return [int((values == index).sum()) for index in range(len(task.classes))]


def _over_time(task: Task, series: Sequence[TimedRatings | None]) -> dict[str, float]:
    rated = [one.values for one in series if one is not None]
    ratings = _distribution(task.decode(np.concatenate(rated)) if rated else np.empty(0))
    return {**ratings, "count": len(rated), "missing": len(series) - len(rated)}


def _distribution(values: np.ndarray[Any, np.dtype[np.float64]]) -> dict[str, float]:
    defined = values[np.isfinite(values)]
    distribution: dict[str, float] = {"count": len(defined), "missing": len(values) - len(defined)}
    if not len(defined):
        return distribution
    names = ("min", "q1", "median", "q3", "max")
    quantiles = np.quantile(defined, np.linspace(0, 1, len(names))).tolist()
    return distribution | dict(zip(names, quantiles, strict=True)) | {"mean": float(defined.mean())}


def find_leaks(tracks: Sequence[Track], split: Split, same: Sequence[Same]) -> list[str]:
    """Return sentences about groups, and about the same music, in several sets."""
    part_of = split.part_of
    #: Artist -> spelling -> its sets.
    groups: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for index, part in part_of.items():
        if (group := tracks[index].group) is not None:
            groups[artist_key(group)][group].add(part)
    spelled = {name: parts for spellings in groups.values() for name, parts in spellings.items()}
    leaks = []
    if crossing := sorted(name for name, parts in spelled.items() if len(parts) > 1):
        leaks.append(
            f"{len(crossing)} of {len(spelled)} groups (artists, albums) are in more than one set, for example "
            f'{crossing[0]!r}; method = "grouped" keeps each in one set'
        )
    variants = [
        spellings
        for spellings in groups.values()
        if len(set().union(*spellings.values())) > 1 and all(len(parts) == 1 for parts in spellings.values())
    ]
    if variants:
        names = (f"{name!r} ({parts})" for name, (parts,) in variants[0].items())
        leaks.append(
            f"{len(variants)} of {len(groups)} groups (artists, albums) are in more than one set under different "
            f"spellings, for example {' and '.join(names)}; write each name in one way in the labels"
        )
    return leaks + find_shared(tracks, split, same)


def find_shared(
    tracks: Sequence[Track], split: Split, same: Sequence[Same], *, crossing: bool = True
) -> list[str]:
    """Return sentences about the same music in several sets, one for each way in which it was recognized.

    Args:
        tracks: the tracks.
        split: their sets.
        same: the tracks that are the same music.
        crossing: False describes the same music several times in one set, and in no other.
    """
    part_of = split.part_of
    places: dict[tuple[Evidence, ...], list[str]] = defaultdict(list)
    for one in same:
        inside = [index for index in one.members if index in part_of]
        if len(inside) > 1 and (len({part_of[index] for index in inside}) > 1) == crossing:
            names = ", ".join(f"{tracks[index].id!r} ({part_of[index]})" for index in inside)
            places[one.evidence].append(names)
    where = "in more than one set" if crossing else "more than once in one set"
    return [
        f"{len(names)} recording{' is' if len(names) == 1 else 's are'} {where}, as tracks with "
        f"{' and '.join(EVIDENCE[one] for one in evidence)}: {'; '.join(names[:3])}"
        + (f"; and {len(names) - 3} more" if len(names) > 3 else "")
        for evidence, names in places.items()
    ]
