"""Several datasets as one: tracks with qualified ids, targets with the names of the tasks and in one unit."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from musicemo.contracts import Dataset, Judgement, Label, Series, Target, Track
from musicemo.data.features import normalize_rows, rows_text
from musicemo.data.same import artist_key
from musicemo.data.splits import PARTS, Split, SplitSettings
from musicemo.data.tasks import Task, TaskSettings, make_task
from musicemo.data.tracks import Origin, Tracks, first_of, misdeclared
from musicemo.errors import InputError, nearest
from musicemo.settings import Settings

__all__ = ["Joined", "JoiningSettings", "split_joined"]


class DatasetSplitSettings(Settings):
    """Keys that replace those of ``[split]`` for one of several datasets."""

    method: Literal["official", "random", "stratified", "grouped"] | None = None
    """Split method of its tracks."""
    validation: float | None = Field(default=None, ge=0, lt=1)
    """Fraction of its tracks in the validation set. An official set takes precedence."""
    test: float | None = Field(default=None, ge=0, lt=1)
    """Fraction of its tracks in the test set. An official set takes precedence."""
    stratify: str | None = None
    """Task whose classes or binned ratings have the same distribution in every set."""
    bins: int | None = Field(default=None, ge=2)
    """Number of bins of the ratings."""

    def over(self, settings: SplitSettings) -> SplitSettings:
        """Return the settings of ``[split]``, with the values that are set here replaced."""
        return SplitSettings.model_validate({**settings.model_dump(), **self.model_dump(exclude_none=True)})


class JoiningSettings(Settings):
    """The keys of a table ``[[dataset]]`` beside the parameters of its component."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")] | None = None
    """Prefix of its track ids. The default is the component's type, or the class name of a local component."""
    proportion: float | None = Field(default=None, gt=0)
    """Relative share of its tracks in each training epoch. Set it for all datasets or for none."""
    split: DatasetSplitSettings = DatasetSplitSettings()
    """Keys that replace those of ``[split]`` for this dataset."""


class Joined:
    """Several datasets as one dataset that declares the tasks' targets, each with the name of its task.

    A track's id is ``dataset/id``. A task's targets are those in `TaskSettings.target`, or those with the
    task's name. For the tracks of a dataset without such a target, it is missing. Ratings are rescaled from the
    range of their dataset to that of the task: the common range of the datasets, or `TaskSettings.range`, or
    [0, 1]. Classes and tags are those of all datasets; a tag that a dataset does not declare is unknown for its tracks.

    Args:
        datasets: name -> dataset.
        tasks: name -> settings.

    Raises:
        InputError: the datasets differ in feature rows, or in their computation. `check` reports problems of tasks.
    """

    def __init__(self, datasets: Mapping[str, Dataset], tasks: Mapping[str, TaskSettings]) -> None:
        problems = [f"{name}: {text}" for name, dataset in datasets.items() for text in misdeclared(dataset)]
        if problems:
            raise InputError(*problems)
        self._datasets = dict(datasets)
        if any(hasattr(dataset, "rows") for dataset in datasets.values()):
            self.rows = self._common("feature rows", _rows, missing=slice(None))
        extraction = self._common(
            "features", lambda dataset: getattr(dataset, "extraction", None), missing=None
        )
        rates = {rate for dataset in datasets.values() if (rate := getattr(dataset, "rate", None)) is not None}
        if len(rates) == 1:
            #: Time steps per second of the arrays in memory.
            (self.rate,) = rates
        if all(getattr(dataset, "extraction", None) for dataset in datasets.values()):
            self.extraction = extraction
        #: Corpora that the songs of any of the datasets are drawn from.
        self.drawn_from = tuple(
            dict.fromkeys(one for dataset in datasets.values() for one in getattr(dataset, "drawn_from", ()))
        )
        self.targets: Sequence[Target] = []
        self._problems: dict[str, tuple[str, ...]] = {}
        #: Dataset -> task -> its target there, and what that is as a task of the dataset alone.
        self._views: dict[str, dict[str, tuple[Target, Task | None]]] = {name: {} for name in datasets}
        for name, settings in tasks.items():
            try:
                self.targets = [*self.targets, self._target(name, settings)]
            except InputError as error:
                self._problems[name] = error.problems
        #: Dataset -> what it declares.
        self.origins = {
            name: Origin(
                getattr(dataset, "id_space", None),
                tuple(dataset.targets),
                {task: target.name for task, (target, _) in self._views[name].items()},
            )
            for name, dataset in datasets.items()
        }

    def check(self, task: str) -> None:
        """Raise an `InputError` if a task's targets do not exist or do not match each other."""
        if task in self._problems:
            raise InputError(*self._problems[task])

    def tracks(self) -> Iterator[Track]:
        """Yield the tracks of the first dataset, followed by those of the next.

        Raises:
            InputError: a rating is outside the range of its dataset, or a target is not declared.
        """
        problems: list[str] = []
        for name, dataset in self._datasets.items():
            declared = {target.name for target in dataset.targets}
            for original in dataset.tracks():
                track = replace(original, id=f"{name}/{original.id}", source=name, original=original)
                if unknown := sorted(set(track.targets) - declared):
                    listed = ", ".join(unknown)
                    problems.append(
                        f"track {track.id!r}: has targets that the dataset does not declare: {listed}"
                    )
                try:
                    yield self._translated(track, name)
                except InputError as error:
                    problems.extend(error.problems)
        if problems:
            raise InputError(*first_of(problems))

    def _translated(self, track: Track, name: str) -> Track:
        views = self._views[name]
        targets: dict[str, Label | None] = {}
        ratings: dict[str, Sequence[float] | Sequence[Series]] = {}
        for target in self.targets:
            if target.name not in views:
                continue
            wanted, view = views[target.name]
            value = track.targets.get(wanted.name)
            rated = track.ratings.get(wanted.name)
            if target.kind == "tags":
                value = _partly(value, wanted.classes)
            if target.kind == "pairs":
                value = _qualified(value, name)
            if isinstance(value, Series) and view is not None:
                series = view.encode_series(track)
                value = series and _restretched(series, target.range)
            elif view is not None and value is not None:
                (share,) = view.encode(track)
                if view.range != target.range:
                    value = float(np.clip(_stretched(share, target.range), *target.range))
            targets[target.name] = value
            if rated is not None:
                ratings[target.name] = rated if view is None else _moved(rated, view.range, target.range)
        return replace(track, targets=targets, ratings=ratings)

    def _target(self, name: str, settings: TaskSettings) -> Target:
        members = _find_targets(name, settings, self._datasets)
        common = _common_target(name, settings, members)
        for dataset, target in members.items():
            rated = common.kind in ("regression", "series")
            self._views[dataset][name] = (
                target,
                make_task(target.name, TaskSettings(), [target]) if rated else None,
            )
        return common

    def _common(self, what: str, of: Callable[[Dataset], Any], *, missing: object = ...) -> Any:
        """Return the value that all datasets have in common.

        Raises:
            InputError: two datasets differ; both are named.
        """
        values = {name: of(dataset) for name, dataset in self._datasets.items()}
        defined = {name: value for name, value in values.items() if value is not missing} or values
        first, *others = defined
        for other in others:
            if defined[other] != defined[first]:
                raise InputError(
                    f"{what} must be the same: {first} has {_named(defined[first])}, "
                    f"{other} has {_named(defined[other])}"
                )
        return defined[first]


def _rows(dataset: Dataset) -> slice:
    """Return a dataset's rows, normalized. Its first track is read only if they depend on the height of the arrays."""
    rows = normalize_rows(getattr(dataset, "rows", slice(None)), ())
    if rows in (slice(None), slice(0, None)):
        return slice(None)
    if rows.stop is None or min(rows.start or 0, rows.stop) < 0:
        return normalize_rows(rows, list(islice(dataset.tracks(), 1)))
    return rows


def _named(value: object) -> str:
    if isinstance(value, slice):
        return rows_text(value)
    return str(value)


def _stretched(share: float, ends: tuple[float, float]) -> float:
    low, high = ends
    return low + share * (high - low)


def _restretched(series: Series, ends: tuple[float, float]) -> Series:
    """Return ratings over time in [0, 1] in another range."""
    low, high = ends
    return replace(series, values=np.clip(low + series.values * (high - low), low, high))


def _moved(
    values: Sequence[float] | Sequence[Series], old: tuple[float, float], new: tuple[float, float]
) -> Sequence[float] | Sequence[Series]:
    """Return single listeners' ratings rescaled to another range, which they can exceed."""
    if old == new:
        return values
    return [_moved_one(value, old, new) for value in values]  # type: ignore[return-value]  # all of one type


def _moved_one(value: float | Series, old: tuple[float, float], new: tuple[float, float]) -> float | Series:
    if isinstance(value, Series):
        low, high = new
        shares = (value.values - old[0]) / (old[1] - old[0])
        return replace(value, values=low + shares * (high - low))
    return _stretched((value - old[0]) / (old[1] - old[0]), new)


def _partly(value: Label | None, declared: Sequence[str]) -> Label | None:
    """Return tags as a mapping, in which those that the dataset does not declare are absent: unknown."""
    if value is None or isinstance(value, str | Mapping) or not isinstance(value, Collection):
        return value
    return dict.fromkeys(declared, False) | dict.fromkeys(map(str, value), True)


def _qualified(value: Label | None, dataset: str) -> Label | None:
    """Return judgements with the id that the other track has among the joined datasets."""
    if isinstance(value, str | Mapping) or not isinstance(value, Sequence):
        return value
    if not all(isinstance(one, Judgement) for one in value):
        return value  # which is reported with the tracks
    return [replace(one, other=f"{dataset}/{one.other}") for one in value if isinstance(one, Judgement)]


def _find_targets(name: str, settings: TaskSettings, datasets: Mapping[str, Dataset]) -> dict[str, Target]:
    """Return a task's target in every dataset that has it.

    Raises:
        InputError: no dataset has the target, or a dataset lacks the one that `settings` name.
    """
    declared = {
        dataset: {target.name: target for target in member.targets} for dataset, member in datasets.items()
    }
    if not isinstance(settings.target, dict):
        wanted = settings.target or name
        members = {dataset: targets[wanted] for dataset, targets in declared.items() if wanted in targets}
        if not members:
            every = list(dict.fromkeys(target for targets in declared.values() for target in targets))
            listed = "; ".join(f"{dataset}: {', '.join(targets)}" for dataset, targets in declared.items())
            raise InputError(
                f"no dataset declares a target {wanted!r}{nearest(wanted, every)} (targets of {listed})"
            )
        return members
    problems = []
    members = {}
    for dataset, wanted in settings.target.items():
        if dataset not in declared:
            listed = ", ".join(declared)
            problems.append(
                f"target: there is no dataset {dataset!r}{nearest(dataset, declared)} (datasets: {listed})"
            )
        elif wanted not in declared[dataset]:
            targets = declared[dataset]
            problems.append(
                f"target: {dataset} declares no target {wanted!r}{nearest(wanted, targets)} "
                f"(targets: {', '.join(targets)})"
            )
        else:
            members[dataset] = declared[dataset][wanted]
    if problems or not members:
        raise InputError(*problems or ["target: names no dataset"])
    return members


def _common_target(name: str, settings: TaskSettings, members: Mapping[str, Target]) -> Target:
    """Return a task's target for all datasets, from the target in each dataset.

    Raises:
        InputError: the targets are of different kinds, or `settings` give classes a range.
    """
    kinds = {target.kind for target in members.values()}
    if len(kinds) > 1:
        listed = ", ".join(
            f"{target.name!r} of {dataset}: {target.kind}" for dataset, target in members.items()
        )
        raise InputError(f"the datasets' targets are of different kinds ({listed})")
    (kind,) = kinds
    if kind not in ("regression", "series"):
        if settings.range is not None:
            what = {"classification": "a classification", "tags": "a target with tags"}.get(kind, "of pairs")
            raise InputError(f"range: is for ratings, and this is {what}")
        classes = sorted({label for target in members.values() for label in target.classes})
        return Target(name, kind, classes=tuple(classes))
    ranges = {(float(low), float(high)) for low, high in (target.range for target in members.values())}
    common = ranges.pop() if len(ranges) == 1 else (0.0, 1.0)
    return Target(name, kind, range=settings.range or common)


def split_joined(
    split_one: Callable[[str, np.ndarray[tuple[int], np.dtype[np.intp]]], Split],
    grouped: Mapping[str, bool],
    tracks: Tracks,
) -> Split:
    """Split every dataset separately, and combine the sets.

    A group (an artist, an album) is identified by its name in all datasets, in any spelling; see `artist_key`. If a
    dataset is split by groups, a group that an earlier dataset has stays in the set to which that dataset assigned it.

    Args:
        split_one: splits some tracks of a dataset, from its name and their indices.
        grouped: dataset -> whether it is split by groups.
        tracks: the tracks.
    """
    sides: dict[str, str] = {}
    parts: dict[str, list[int]] = {part: [] for part in PARTS}
    for name, indices in tracks.sources.items():
        names = {int(index): tracks.tracks[index].group for index in indices}
        groups = {index: None if group is None else artist_key(group) for index, group in names.items()}
        placed = {
            index: sides[group]
            for index, group in groups.items()
            if grouped[name] and group is not None and group in sides
        }
        rest = np.array([index for index in groups if index not in placed], dtype=np.intp)
        if len(rest):
            split = split_one(name, rest)
            placed |= {int(rest[index]): part for part in PARTS for index in split.parts[part]}
        for index, part in placed.items():
            parts[part].append(index)
        for part in PARTS:  # a group on two sides of an earlier dataset trains
            for index, side in placed.items():
                if side == part and (group := groups[index]) is not None:
                    sides.setdefault(group, part)
    sorted_parts = {part: np.sort(np.array(indices, dtype=np.intp)) for part, indices in parts.items()}
    return Split(sorted_parts, tracks.ids)
