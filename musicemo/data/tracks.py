"""The tracks of an experiment: the checked tracks of the dataset that have a label for at least one task."""

from __future__ import annotations

import array
import itertools
import logging
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from unicodedata import category

import numpy as np
from numpy.typing import NDArray

from musicemo.contracts import Dataset, Series, Target, Track
from musicemo.data.features import normalize_rows
from musicemo.data.pairs import Pairs, compared, find_pairs
from musicemo.data.provenance import overlaps
from musicemo.data.series import TimedRatings, mean_rating, step_edges, timed
from musicemo.data.tasks import Task, TaskSettings, columns, labelled, make_task
from musicemo.errors import InputError, problem_kind, summarize_problems
from musicemo.features import Stream

__all__ = ["Origin", "Tracks", "collect", "first_of", "misdeclared", "misyielded", "unwritable"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Origin:
    """A dataset that tracks are from."""

    #: Name of the catalogue that its ids are from; None if they are its own.
    id_space: str | None
    targets: Sequence[Target]
    #: Task -> the name of its target in this dataset.
    tasks: Mapping[str, str]


@dataclass(frozen=True)
class Tracks:
    """Tracks and their encoded targets."""

    tracks: Sequence[Track]
    tasks: Sequence[Task]
    #: `[tracks, columns]`, see `columns`: [0, 1], a class index, or 0 and 1 for each tag; NaN where missing.
    targets: NDArray[np.float64]
    #: Rows of the features that are used, see `normalize_rows`.
    rows: slice
    #: Streams of features that were extracted from the tracks' audio; empty for ready-made features.
    streams: Sequence[Stream] = ()
    #: Tables ``[features]`` that compute the features from audio; empty if they are unknown.
    extraction: Sequence[Mapping[str, Any]] = ()
    #: Tracks of the dataset that have no label for any task.
    unlabelled: Sequence[Track] = ()
    #: All targets that the dataset declares, including those of the tasks.
    declared: Sequence[Target] = ()
    #: Dataset -> what it declares; the name of a single dataset is empty.
    origins: Mapping[str, Origin] = field(default_factory=dict)
    #: Task with ratings over time -> those of each track, None where it has none.
    series: Mapping[str, Sequence[TimedRatings | None]] = field(default_factory=dict)
    #: Where the weights of pretrained features may have seen the songs, a sentence each.
    seen: Sequence[str] = ()
    #: Task that predicts distributions, or has weights -> the listeners' ratings of each track in [0, 1], `[tracks,
    #: listeners]`, NaN where there are fewer.
    listeners: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    #: Task of the kind ``pairs`` -> its judged pairs.
    pairs: Mapping[str, Pairs] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.tracks)

    @property
    def ids(self) -> list[str]:
        """The tracks' ids."""
        return [track.id for track in self.tracks]

    @property
    def sources(self) -> dict[str, NDArray[np.intp]]:
        """Dataset -> its tracks, where several are joined; empty for one."""
        names = dict.fromkeys(track.source for track in self.tracks)
        return {name: np.flatnonzero([track.source == name for track in self.tracks]) for name in names if name}

    @property
    def steps(self) -> str:
        """The name of the features' time steps: ``beats``, ``frames``, ``segments``, else ``time steps``."""
        grids = {stream.grid for stream in self.streams}
        return f"{grids.pop()}s" if len(grids) == 1 and grids != {"track"} else "time steps"

    def column(self, name: str) -> tuple[Task, NDArray[np.float64]]:
        """Return a task and its targets `[tracks]` or `[tracks, columns]`; a target of the dataset becomes a task.

        The target of a series is the mean of each track's ratings.

        Raises:
            InputError: there is neither a task nor a target of this name.
        """
        for task in self.tasks:
            if task.name == name:
                if task.kind == "series":
                    return task, mean_rating(self.series[name])
                if task.kind == "pairs":
                    return task, np.empty((len(self), 0))
                return task, self.targets[:, columns(self.tasks)[name]]
        task = make_task(name, TaskSettings(), self.declared)
        if task.kind == "series":
            every = [task.encode_series(track) for track in self.tracks]
            return task, np.array([np.nan if one is None else np.nanmean(one.values) for one in every])
        encoded = np.array([task.encode(track) for track in self.tracks])
        return task, encoded if task.kind in ("tags", "pairs") else encoded[:, 0]

    def labels(self, name: str) -> list[str | None]:
        """Return each track's class of a task, or of a target of the dataset; None if it is missing.

        Raises:
            InputError: there is neither a task nor a target of this name, or it is not a classification.
        """
        task, values = self.column(name)
        if task.kind != "classification":
            raise InputError(f"{name!r} is of the kind {task.kind}; a classification is needed")
        return [task.classes[int(value)] if np.isfinite(value) else None for value in values]

    def describe(self) -> dict[str, dict[str, Any]]:
        """Return the tracks' groups and classes, to show beside their ids.

        ``groups``: track -> its artist or album. ``classes``: classification target of the dataset -> track -> its
        class. A track without one is left out.
        """
        names = [target.name for target in self.declared if target.kind == "classification"]
        classes = {
            name: {track.id: label for track in self.tracks if (label := track.targets.get(name)) is not None}
            for name in names
        }
        groups = {track.id: str(track.group) for track in self.tracks if track.group is not None}
        return {"groups": groups, "classes": {name: some for name, some in classes.items() if some}}

    def check_trainable(self, parts: Mapping[str, NDArray[np.intp]]) -> None:
        """Raise an `InputError` if a task has no label in the training set, or a class or tag only in other sets."""
        places = columns(self.tasks)
        for task in self.tasks:
            if task.kind == "series":
                if all(self.series[task.name][index] is None for index in parts["train"]):
                    raise InputError(f"task {task.name!r}: no track of the training set has a label")
                continue
            if task.kind == "pairs":
                if not len(self.pairs[task.name].within(parts["train"])):
                    raise InputError(f"task {task.name!r}: no pair has both tracks in the training set")
                continue
            labels = {part: self.targets[indices, places[task.name]] for part, indices in parts.items()}
            if not labelled(labels["train"]).any():
                raise InputError(f"task {task.name!r}: no track of the training set has a label")
            if task.kind == "tags":
                _check_tags(task, labels)
                continue
            trained = set(labels["train"][np.isfinite(labels["train"])])
            for part in labels if task.kind == "classification" else ():
                found = labels[part]
                if unseen := sorted(set(found[np.isfinite(found)]) - trained):
                    index = parts[part][np.flatnonzero(found == unseen[0])[0]]
                    raise InputError(
                        f"task {task.name!r}: class {task.classes[int(unseen[0])]!r} occurs only in the {part} set "
                        f"(track {self.tracks[index].id!r}). Merge or drop it with tasks.{task.name}.classes, or "
                        "change the split"
                    )

    def with_share_of_labels(self, train: NDArray[np.intp], shares: Mapping[str, float], seed: int) -> Tracks:
        """Return the tracks without some labels of the training set.

        Each task keeps the first labels of a random order of its own, so that those of a smaller share are among those
        of a larger one.

        Args:
            train: the training set.
            shares: task -> share of its labels to keep, rounded, at least one.
            seed: decides the order, together with the name of the task.
        """
        targets, places = self.targets.copy(), columns(self.tasks)
        series, listeners = dict(self.series), dict(self.listeners)
        for name, share in shares.items():
            if name in series:
                having = train[[series[name][index] is not None for index in train]]
            else:
                having = train[labelled(targets[train, places[name]])]
            order = np.random.default_rng([seed, *name.encode()]).permutation(having)
            hidden = order[max(1, round(share * len(having))) :]
            if name in series:
                without = set(hidden.tolist())
                series[name] = [None if index in without else one for index, one in enumerate(series[name])]
            else:
                targets[hidden, places[name]] = np.nan
            if name in listeners:
                listeners[name] = listeners[name].copy()
                listeners[name][hidden] = np.nan
        return replace(self, targets=targets, series=series, listeners=listeners)


Extract = Callable[[Sequence[Track]], tuple[list[Track], Sequence[Stream]]]


def collect(
    dataset: Dataset, tasks: Sequence[Task], extract: Extract | None = None, *, restrict: bool = True
) -> Tracks:
    """Read the dataset's tracks, encode their targets, and extract the features of the labeled tracks.

    Args:
        dataset: the dataset.
        tasks: the tasks.
        extract: returns tracks with their features, and the streams of those from audio. A track that it leaves out is
            ignored. By default the tracks keep what they have.
        restrict: whether to remove classes without tracks from their task.

    Raises:
        InputError: an id is not unique, a target is out of range or has an unknown class (the first twenty are listed),
            the dataset has no labeled track, its audio cannot be analyzed, the steps of features have no times although
            a task has ratings over time, or an optional attribute is invalid.
    """
    problems = misdeclared(dataset)
    kept: list[Track] = []
    unlabelled: list[Track] = []
    encoded = array.array("d")
    rated: dict[str, list[Series | None]] = {task.name: [] for task in tasks if task.kind == "series"}
    seen: set[str] = set()
    declared = {target.name for target in dataset.targets}
    everyone = list(dataset.tracks())
    if strange := misyielded(everyone) or [text for track in everyone if (text := unwritable(track))]:
        raise InputError(*first_of(strange))
    tasks, unusable = _restricted(tasks, everyone) if restrict else (tasks, [])
    width = sum(task.width for task in tasks)
    judged = compared(everyone, {task.target for task in tasks if task.kind == "pairs"})
    for track in everyone:
        if track.id in seen:
            problems.append(f"track {track.id!r}: the id is not unique in the dataset")
        seen.add(track.id)
        if unknown := sorted(set(track.targets) - declared):
            problems.append(
                f"track {track.id!r}: has targets that the dataset does not declare: {', '.join(unknown)}"
            )
        row: list[float] = []
        over_time: dict[str, Series | None] = dict.fromkeys(rated)
        for task in tasks:
            try:
                task.check_ratings(track)
                row += task.encode(track)
                if task.name in rated:
                    over_time[task.name] = task.encode_series(track)
            except InputError as error:
                problems.extend(error.problems)
        if len(row) == width and np.isnan(row).all() and not any(over_time.values()) and track.id not in judged:
            unlabelled.append(track)
        else:
            kept.append(track)
            encoded.extend(row)
            for name, ratings in over_time.items():
                rated[name].append(ratings)
    if everyone:
        problems += unusable
    if problems:
        raise InputError(*first_of(problems))
    if not kept:
        raise InputError(f"none of the dataset's {len(unlabelled)} tracks has a label for any task")
    targets = np.array(encoded, dtype=np.float64).reshape(len(kept), width)
    streams: Sequence[Stream] = ()
    if extract is not None:
        before = kept
        kept, streams = extract(before)
        if len(kept) < len(before):
            place = {track.id: index for index, track in enumerate(before)}
            order = [place[track.id] for track in kept]
            targets = targets[order]
            rated = {name: [every[index] for index in order] for name, every in rated.items()}
        del before
    exposed = [
        f"features {stream.name!r}: their weights have seen {clause}"
        for stream in streams
        for clause in overlaps(
            getattr(stream.extractor, "pretrained_on", ()), getattr(dataset, "drawn_from", ())
        )
    ]
    for text in exposed:
        _log.warning(f"{text}. The metrics can be optimistic")
    described = getattr(dataset, "extraction", None)
    extraction = [stream.to_table() for stream in streams] or ([dict(described)] if described else [])
    rows = normalize_rows(getattr(dataset, "rows", slice(None)), kept)
    declared_targets = tuple(dataset.targets)
    alone = Origin(
        getattr(dataset, "id_space", None), declared_targets, {task.name: task.target for task in tasks}
    )
    origins = getattr(dataset, "origins", None) or {"": alone}
    series: dict[str, list[TimedRatings | None]] = {}
    if rated:
        series = _on_steps(kept, rated, streams, getattr(dataset, "rate", None))
        there = [
            track.id in judged or bool(np.isfinite(row).any()) or any(every[index] for every in series.values())
            for index, (track, row) in enumerate(zip(kept, targets, strict=True))
        ]
        unlabelled += itertools.compress(kept, map(operator.not_, there))
        kept, targets = list(itertools.compress(kept, there)), targets[np.array(there)]
        series = {name: list(itertools.compress(every, there)) for name, every in series.items()}
    pairs = _pairs(kept, tasks)
    return Tracks(
        kept,
        tasks,
        targets,
        rows,
        streams,
        extraction,
        unlabelled,
        declared_targets,
        origins,
        series,
        exposed,
        _listeners(kept, tasks),
        pairs,
    )


def _listeners(tracks: Sequence[Track], tasks: Sequence[Task]) -> dict[str, NDArray[np.float32]]:
    """Return the listeners' ratings of the tasks that learn a distribution or have weights; see `Tracks.listeners`."""
    listeners: dict[str, NDArray[np.float32]] = {}
    for task in (task for task in tasks if task.distribution or task.weighted):
        if task.weighted and not any(len(track.ratings.get(task.target, ())) for track in tracks):
            raise InputError(
                f"task {task.name!r}: weights: the dataset has no ratings of single listeners of {task.target!r}. "
                'Remove weights = "listeners"'
            )
        every = [task.listeners(track) for track in tracks]
        padded = np.full((len(every), max(map(len, every))), np.nan, dtype=np.float32)
        for row, ratings in zip(padded, every, strict=True):
            row[: len(ratings)] = ratings
        listeners[task.name] = padded
    return listeners


def _on_steps(
    tracks: Sequence[Track],
    rated: Mapping[str, Sequence[Series | None]],
    streams: Sequence[Stream],
    rate: float | None,
) -> dict[str, list[TimedRatings | None]]:
    """Return task -> the ratings of each track on the steps of its features.

    Raises:
        InputError: the steps have no times, every track has one step, or no rating of a task lies within the features.
    """
    offsets = {stream.settings.excerpt[0] if stream.settings.excerpt else 0.0 for stream in streams} or {0.0}
    if len(offsets) > 1:
        raise InputError(
            "features.excerpt: must begin at the same time in all streams, because tasks are rated over time"
        )
    (offset,) = offsets
    every = {
        index: step_edges(track, rate, offset)
        for index, track in enumerate(tracks)
        if any(series[index] is not None for series in rated.values())
    }
    if all(len(edges) == 2 for edges in every.values()):
        names = ", ".join(map(repr, rated))
        raise InputError(
            f"tasks {names}: the features of every track have one time step, and ratings over time need several. Use "
            'features.grid = "segment", "beat" or "frame"'
        )
    result: dict[str, list[TimedRatings | None]] = {}
    for name, series in rated.items():
        result[name] = [None if one is None else timed(one, every[index]) for index, one in enumerate(series)]
        asked = sum(one is not None for one in series)
        outside = [index for index, one in enumerate(series) if one is not None and result[name][index] is None]
        if outside:
            first = series[outside[0]]
            assert first is not None
            edges = every[outside[0]]
            where = (
                f"task {name!r}: no rating lies within the features of {len(outside)} of {asked} tracks, for example "
                f"track {tracks[outside[0]].id!r}: rated from {first.times[0]:g} to {first.times[-1]:g} s, features "
                f"from {edges[0]:g} to {edges[-1]:g} s"
            )
            if len(outside) == asked:
                raise InputError(where)
            _log.warning(f"{where}. These tracks have no label for the task")
    return result


def _pairs(tracks: Sequence[Track], tasks: Sequence[Task]) -> dict[str, Pairs]:
    """Return the judged pairs of each task with pairs, and warn of those that name other tracks."""
    pairs: dict[str, Pairs] = {}
    for task in (task for task in tasks if task.kind == "pairs"):
        pairs[task.name], unknown = find_pairs(tracks, task.target)
        problem = f"{len(unknown)} judgements of pairs name tracks that are not in the dataset"
        if unknown:
            problem += f", for example {unknown[0]!r}"
        if not len(pairs[task.name]):
            raise InputError(
                f"task {task.name!r}: the dataset has no judged pair{f'; {problem}' if unknown else ''}"
            )
        if unknown:
            _log.warning(f"task {task.name!r}: {problem}; they are ignored")
    return pairs


def _check_tags(task: Task, labels: Mapping[str, NDArray[np.float64]]) -> None:
    """Raise an `InputError` if no training track has a tag that tracks of other sets have."""
    having = {part: (values == 1).any(axis=0) for part, values in labels.items()}
    problems = [
        f"{name!r} ({', '.join(part for part in having if having[part][index])})"
        for index, name in enumerate(task.classes)
        if not having["train"][index] and any(present[index] for present in having.values())
    ]
    if problems:
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise InputError(
            f"task {task.name!r}: no track of the training set has the tag {', '.join(problems[:3])}{more}. Merge or "
            f"drop it with tasks.{task.name}.classes, or stratify the split by {task.name!r}"
        )


def first_of(problems: Sequence[str]) -> list[str]:
    """Return the problems as `summarize_problems` does: three of a kind, at most twenty."""
    return summarize_problems((problem_kind(problem), problem) for problem in problems)


def misyielded(tracks: Sequence[Any]) -> list[str]:
    """Return the problem of an object that a dataset yields as a track."""
    if stranger := next((track for track in tracks if not isinstance(track, Track)), None):
        return [f"the dataset yields a {type(stranger).__name__}, but must yield musicemo.contracts.Track"]
    return [
        f"track {track.id!r}: its {name} are a {type(value).__name__}; they are a mapping of target names to {what}"
        for track in tracks
        for name, value, what in (
            ("targets", track.targets, "ratings, classes, tags and series"),
            ("ratings", track.ratings, "sequences of listeners' ratings"),
        )
        if not isinstance(value, Mapping)
    ]


def unwritable(track: Track) -> str | None:
    """Return the reason why a track's id or group cannot be written to a file and read again."""
    for name, text in (("id", track.id), ("group", track.group)):
        if name == "group" and (text is None or isinstance(text, int)):
            continue
        if not isinstance(text, str):
            missing = "; a missing group is None" if text != text else ""
            return f"track {track.id!r}: its {name} is {text!r}; it must be text{missing}"
        if not text.isprintable() and (strange := [one for one in text if category(one) in ("Cc", "Cs")]):
            kind = "a control character" if category(strange[0]) == "Cc" else "not valid Unicode"
            return f"track {track.id!r}: its {name} contains {strange[0]!r}, which is {kind}; rename it"
    return None if track.id else "a track's id is empty"


def misdeclared(dataset: Dataset) -> list[str]:
    """Return the problem of a dataset's optional attributes."""
    found = [
        f"the dataset's target {target.name!r} contains {name!r}, which is not valid Unicode; rename it"
        for target in dataset.targets
        for name in (target.name, *target.classes)
        if isinstance(name, str) and any(category(char) == "Cs" for char in name)
    ]
    rate = getattr(dataset, "rate", None)
    if rate is not None and (
        isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 < rate < math.inf
    ):
        found.append(
            f"the dataset's rate is {rate!r}; it must be a number of time steps per second above 0, or None"
        )
    extraction = getattr(dataset, "extraction", None)
    if not isinstance(extraction, Mapping | None) or (extraction and "type" not in extraction):
        found.append(
            f"the dataset's extraction is {extraction!r}; it must be a table [features] with a type, or None"
        )
    drawn_from = getattr(dataset, "drawn_from", ())
    if isinstance(drawn_from, str) or not all(isinstance(corpus, str) for corpus in drawn_from):
        found.append(
            f"the dataset's drawn_from is {drawn_from!r}; it must be a tuple of texts, such as ('fma',)"
        )
    id_space = getattr(dataset, "id_space", None)
    if not isinstance(id_space, str | None):
        found.append(
            f"the dataset's id_space is {id_space!r}; it must be the name of a catalogue, such as 'deam', or None"
        )
    return found


def _restricted(tasks: Sequence[Task], tracks: Sequence[Track]) -> tuple[list[Task], list[str]]:
    """Return the tasks with the classes that occur, and a message for each task that keeps too few of them."""
    found: list[Task] = []
    problems: list[str] = []
    for task in tasks:
        try:
            found.append(task.restricted(track.targets.get(task.target) for track in tracks))
        except InputError as error:
            found.append(task)
            problems += error.problems
    return found, problems
