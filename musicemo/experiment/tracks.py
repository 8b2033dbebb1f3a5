"""An experiment's tracks, and the parts that they are split into."""

from __future__ import annotations

import functools
import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from musicemo import toml
from musicemo.components.local import told_by_line
from musicemo.components.spec import suits
from musicemo.contracts import Dataset, Launcher, Track, kinds_of
from musicemo.data import (
    Features,
    Joined,
    Split,
    SplitSettings,
    Task,
    Tracks,
    collect,
    compare_datasets,
    find_same,
    find_shared,
    make_split,
    make_task,
    pair_groups,
    read_split,
    recordings,
    split_joined,
    strata,
)
from musicemo.errors import InputError, nearest
from musicemo.experiment import Experiment
from musicemo.ops import Distribution

__all__ = ["match_tasks", "read_tracks", "split_some", "split_tracks", "warn_of_shared"]

_log = logging.getLogger(__name__)

Indices = NDArray[np.intp]


def read_tracks(experiment: Experiment, launcher: Launcher | None = None) -> Tracks:
    """Build the dataset, match the tasks with its targets, and read its tracks.

    Args:
        experiment: the experiment.
        launcher: where features that are missing are extracted; by default in processes of this machine.

    Raises:
        InputError: with the line of the experiment file where there is one.
    """
    with told_by_line():
        dataset = experiment.build_dataset()
        extract = functools.partial(experiment.extract, launcher=launcher)
        return collect(dataset, match_tasks(experiment, dataset), extract)


@told_by_line()
def match_tasks(experiment: Experiment, dataset: Dataset) -> list[Task]:
    """Match the tasks, and what else names targets, with those of the dataset.

    Raises:
        InputError: with the line of the experiment file.
    """
    source = experiment.source
    problems: list[str] = []
    tasks: list[Task] = []
    for name, settings in experiment.tasks.items():
        try:
            with source.blaming("tasks", name):
                if isinstance(dataset, Joined):
                    dataset.check(name)
                    settings = settings.under(name)
                task = make_task(name, settings, dataset.targets)
                _check_losses(experiment, task)
                tasks.append(replace(task, distribution=_distribution(experiment, task)))
        except InputError as error:
            problems += error.problems
    grids = {table.settings.grid for table in experiment.features}
    if grids == {"track"} and (timed := [repr(task.name) for task in tasks if task.kind == "series"]):
        grid = ("features", "grid") if len(experiment.features) == 1 else ("features", 0, "grid")
        problems.append(
            source.error(
                grid,
                f"'track' has one time step, and ratings over time ({', '.join(timed)}) need several. Use 'segment', "
                "'beat' or 'frame'",
            )
        )
    for key, split in experiment.splits.values():
        if split.stratify is not None:
            problems += _unknown(experiment, dataset, (*key, "stratify"), split.stratify)
    if (control := experiment.evaluation.control) is not None:
        place = ("evaluation", "control")
        kinds = {target.name: target.kind for target in dataset.targets} | {
            task.name: task.kind for task in tasks
        }
        problems += _unknown(experiment, dataset, place, control)
        if (kind := kinds.get(control, "classification")) != "classification":
            what = "has tags" if kind == "tags" else f"is a {kind}"
            problems.append(source.error(place, f"{control!r} {what}, but must be a classification"))
    if problems:
        raise InputError(*problems)
    return tasks


def _unknown(experiment: Experiment, dataset: Dataset, key: toml.Key, name: str) -> list[str]:
    """Return what is wrong with the name of a task or of another target of the dataset."""
    others = [target.name for target in dataset.targets if target.name not in experiment.tasks]
    if name in experiment.tasks or name in others:
        return []
    listed = ", ".join(experiment.tasks) + (f"; other targets: {', '.join(others)}" if others else "")
    text = f"{name!r} is not a task{nearest(name, [*experiment.tasks, *others])} (tasks: {listed})"
    return [experiment.source.error(key, text)]


def _check_losses(experiment: Experiment, task: Task) -> None:
    for _, loss, per in experiment.losses[task.name]:
        kinds = kinds_of(loss.factory)
        if not suits(loss.factory, task.kind):
            raise InputError(
                f"loss {loss.name!r} is for {' and '.join(kinds)}, and {task.target!r} is a {task.kind} target"
            )
        if per is not None and task.kind != "series":
            raise InputError(f"loss.per: is for series, and {task.target!r} is a {task.kind} target")
        if per is not None and "series" in kinds:
            raise InputError(f"loss.per: loss {loss.name!r} takes whole series, which are not divided")
        if task.weighted and not getattr(loss.factory, "weighted", False):
            raise InputError(
                f"weights: loss {loss.name!r} does not take weights of tracks. Losses that do, such as 'mse' and "
                "'gaussian-nll', have the attribute weighted"
            )


def _distribution(experiment: Experiment, task: Task) -> Distribution | None:
    """Return the distribution that the losses of a task learn.

    Raises:
        InputError: two losses learn different ones, or the task is no regression.
    """
    if not (distributions := experiment.distributions(task.name, task.kind)):
        return None
    (first, distribution), *others = distributions.items()
    for other, another in others:
        if another != distribution:
            raise InputError(
                f"losses {first!r} and {other!r} learn different distributions ({distribution} and {another})"
            )
    if task.kind != "regression":
        raise InputError(
            f"loss {first!r} learns a distribution of ratings, and {task.target!r} is a {task.kind} target"
        )
    return distribution


def split_tracks(
    experiment: Experiment, tracks: Tracks, fold: int | None = None, inner: tuple[int, int] | None = None
) -> Split:
    """Split the tracks as the experiment says.

    Args:
        experiment: the experiment.
        tracks: its tracks.
        fold: the fold that is the test set, for k-fold.
        inner: number of an inner fold, and number of all: the inner fold of the tracks outside of the test set is the
            validation set, and the rest of them the training set.

    Raises:
        InputError: the split cannot be made, or a class has no track to train on.
    """
    splits = experiment.splits
    listed: dict[str, str] = {}
    if experiment.split.path is not None:
        with experiment.source.blaming("split", "path"):
            path = experiment.split_file
            listed = read_split(path)
            _check_listed(path, listed, tracks)

    def split_one(name: str, indices: Indices) -> Split:
        key, settings = splits[name]
        with experiment.source.blaming(*key):
            return split_some(settings, tracks, indices, fold, listed, inner)

    if tracks.sources:
        grouped = {name: settings.by_groups for name, (_, settings) in splits.items()}
        split = split_joined(split_one, grouped, tracks)
    else:
        split = split_one("", np.arange(len(tracks)))
    _report_dropped(tracks, split)
    tracks.check_trainable(split.parts)
    return split


def _check_listed(path: Path, listed: Mapping[str, str], tracks: Tracks) -> None:
    """Warn of ids in the file of a split that are not those of tracks, and of tracks that are not in it."""
    names = [_listed_name(track, listed) for track in tracks.tracks]
    without = [track.id for track, name in zip(tracks.tracks, names, strict=True) if name is None]
    unknown = sorted(set(listed) - set(names))
    if len(without) == len(tracks):
        raise InputError(
            f"{path}: none of its {len(listed)} ids is that of a track (ids in the file: {unknown[0]!r}, ...; tracks: "
            f"{without[0]!r}, ...)"
        )
    if unknown:
        _log.warning(
            f"{path}: {len(unknown)} of {len(listed)} ids are not those of tracks with a label, for example "
            f"{unknown[0]!r}"
        )
    if without:
        _log.warning(
            f"{path}: {len(without)} of {len(tracks)} tracks are in no set and are left out, for example {without[0]!r}"
        )


def _listed_name(track: Track, listed: Mapping[str, str]) -> str | None:
    """Return the id by which the file of a split lists a track: with the name of its dataset, or without."""
    names = [track.id, *([track.id.removeprefix(f"{track.source}/")] if track.source else [])]
    return next((name for name in names if name in listed), None)


def split_some(
    settings: SplitSettings,
    tracks: Tracks,
    indices: Indices,
    fold: int | None,
    listed: Mapping[str, str] | None = None,
    inner: tuple[int, int] | None = None,
) -> Split:
    """Split some tracks, stratified by the target that is asked for, or by the first task that has a label.

    Args:
        settings: the method and its shares.
        tracks: all tracks.
        indices: those to split. The split has their places in this array.
        fold: the fold that is the test set, for k-fold.
        listed: id -> set, of a split that is read from a file.
        inner: see `split_tracks`.

    Raises:
        InputError: the tracks cannot be split.
    """
    listed = listed or {}
    names = [settings.stratify] if settings.stratify else []
    columns = (tracks.column(name) for name in (*names, *(task.name for task in tracks.tasks)))
    rated, labels = next(
        ((task.rated, values[indices]) for task, values in columns if np.isfinite(values[indices]).any()),
        (False, np.zeros(len(indices))),  # there are only pairs
    )
    some = [tracks.tracks[index] for index in indices]
    return make_split(
        settings,
        [track.id for track in some],
        strata(labels, regression=rated, bins=settings.bins),
        [track.group for track in some],
        [listed.get(_listed_name(track, listed) or "") for track in some]
        if settings.method == "file"
        else [track.part for track in some],
        fold,
        _kept_together(settings, tracks, indices),
        inner,
    )


def _kept_together(settings: SplitSettings, tracks: Tracks, indices: Indices) -> list[str] | None:
    """Return the group of each track, for a split that keeps the tracks of a pair in one set; otherwise None.

    Raises:
        InputError: pairs connect more than half of the tracks.
    """
    if not tracks.pairs or settings.pairs == "drop" or settings.method in ("official", "file"):
        return None
    some = [tracks.tracks[index] for index in indices]
    groups = pair_groups(
        some,
        [pairs.within(indices) for pairs in tracks.pairs.values()],
        [track.group if settings.by_groups else None for track in some],
    )
    largest = max(Counter(groups).values())
    if largest > len(some) / 2:
        within = " and groups" if settings.by_groups else ""
        raise InputError(
            f"pairs{within} connect {largest} of {len(some)} tracks, so that both tracks of each pair cannot be kept "
            'in one set. Set pairs = "drop" in [split] to drop the pairs across sets, or choose the sets with '
            'method = "file"'
        )
    return groups


def _report_dropped(tracks: Tracks, split: Split) -> None:
    """Warn of the pairs whose tracks are in different sets."""
    for name, pairs in tracks.pairs.items():
        kept = sum(len(pairs.within(indices)) for indices in split.parts.values())
        if dropped := len(pairs) - kept:
            _log.warning(
                f"task {name!r}: {dropped} of {len(pairs)} pairs are left out, because their tracks are not in the "
                "same set of the split"
            )


def warn_of_shared(tracks: Tracks, split: Split, features: Features) -> None:
    """Warn of tracks that joined datasets share: in several sets, or with labels that contradict each other."""
    if tracks.sources:
        same = find_same(recordings(tracks, split, features))
        for leak in find_shared(tracks.tracks, split, same):
            _log.warning(f"suspected leak: {leak}")
        for overlap in compare_datasets(tracks, same):
            if overlap.warning:
                _log.warning(overlap.warning)
