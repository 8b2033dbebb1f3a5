"""Whether a run follows a published protocol: its sets, its features, and music that was seen before."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from musicemo.data import PARTS, Split, Tracks, hash_ids, overlaps
from musicemo.evaluation import higher_is_better
from musicemo.experiment import Experiment, Protocol
from musicemo.running.transfer import find_leaks

__all__ = ["describe_conformity"]


def describe_conformity(
    experiment: Experiment, tracks: Tracks, split: Split, fold: int | None, checkpoint: Path | None
) -> dict[str, Any] | None:
    """Return what `results.json` records of the protocol of an experiment; None if it has none.

    ``departures`` are the reasons why its results are not comparable with the published ones, one sentence each.
    ``sets`` has the number of tracks of each set, those of the protocol (``expected``), and whether they are the same
    tracks. ``dataset`` is the name of the protocol's dataset among several joined ones; only its tracks are compared.
    The other keys are those of `Protocol.to_json`.

    Args:
        experiment: the experiment.
        tracks: its tracks.
        split: their sets.
        fold: the fold, with k-fold.
        checkpoint: the checkpoint that the run begins with.
    """
    protocol = experiment.protocol
    if protocol is None:
        return None
    member = protocol.member(experiment.dataset)
    prefix = f"{member.name}/" if member else ""
    parts = {
        part: [name.removeprefix(prefix) for name in split.track_ids(part) if name.startswith(prefix)]
        for part in PARTS
    }
    sets: dict[str, dict[str, Any]] = {}
    for part, wanted in protocol.table.sets.items():
        ids = parts[part] + (parts["val"] if part == "train" and "val" not in protocol.table.sets else [])
        expected = wanted.hash[fold or 0] if isinstance(wanted.hash, list) else wanted.hash
        same = len(ids) == wanted.tracks if expected is None else hash_ids(ids) == expected
        sets[part] = {"tracks": len(ids), "expected": wanted.tracks, "same": same}
    departures = [
        *_of_sets(sets),
        *protocol.deviations(experiment.features),
        *tracks.seen,
        *_undeclared(tracks),
        *_seen_before(experiment, split, checkpoint),
        *(_of_joint_training(experiment, tracks, split, member.name, parts["test"]) if member else ()),
        *(_of_scales(protocol, tracks, member.name) if member else ()),
    ]
    if experiment.split.fold is not None:
        departures.append(f"it is fold {experiment.split.fold} of {experiment.split.folds} only")
    entry = {**protocol.to_json(), "sets": sets, "departures": departures}
    return entry | ({"dataset": member.name} if member else {})


def _of_joint_training(
    experiment: Experiment, tracks: Tracks, split: Split, ours: str, tested: Sequence[str]
) -> Iterator[str]:
    """Yield where other datasets that are trained on have music of the protocol's dataset."""
    trained = [name for part in ("train", "val") for name in split.track_ids(part)]
    space = tracks.origins[ours].id_space
    for name in (name for name in experiment.datasets if name != ours):
        if space is not None and space == tracks.origins[name].id_space:
            ids = {one.removeprefix(f"{name}/") for one in trained if one.startswith(f"{name}/")}
            if common := [one for one in tested if one in ids]:
                yield (
                    f"{len(common)} of {len(tested)} test tracks are, with the same ids, in the training or validation "
                    f"set of {name!r}, {common[0]!r} first"
                )
            continue
        for clause in overlaps(_drawn_from(experiment, name), _drawn_from(experiment, ours)):
            yield f"{name!r}, which is trained on too, has songs of {clause}"


def _drawn_from(experiment: Experiment, name: str) -> Sequence[str]:
    component = experiment.datasets[name]
    corpora = component.parameters.get("drawn_from") or getattr(component.factory, "drawn_from", None) or ()
    return tuple(map(str, corpora))


def _of_scales(protocol: Protocol, tracks: Tracks, ours: str) -> Iterator[str]:
    """Yield the errors that are on a scale common to several datasets."""
    ranges = {target.name: target.range for target in tracks.origins[ours].targets}
    for task in (task for task in tracks.tasks if task.name in protocol.table.metrics):
        scale = ranges[tracks.origins[ours].tasks[task.name]]
        errors = [name for name in protocol.table.metrics[task.name] if not higher_is_better(name)]
        if errors and tuple(task.range) != tuple(scale):
            low, high = task.range
            yield (
                f"{task.name} {errors[0]} is on the common scale of the datasets, {low:g} to {high:g}, and not on "
                f"{scale[0]:g} to {scale[1]:g}"
            )


def _of_sets(sets: dict[str, dict[str, Any]]) -> Iterator[str]:
    names = {"train": "training", "val": "validation", "test": "test"}
    for part, sizes in sets.items():
        if not sizes["same"]:
            yield (
                f"the {names[part]} set is not the protocol's: it has {sizes['tracks']} tracks, of "
                f"{sizes['expected']}"
            )


def _undeclared(tracks: Tracks) -> Iterator[str]:
    """Yield the streams whose extractor has weights without the corpora that they have seen."""
    for stream in tracks.streams:
        if not getattr(stream.extractor, "pretrained_on", True):
            yield (
                f"features {stream.name!r}: which corpora their weights have seen is not declared "
                "(features.pretrained_on)"
            )


def _seen_before(experiment: Experiment, split: Split, checkpoint: Path | None) -> Iterator[str]:
    if checkpoint is not None:
        leaks, doubts = find_leaks(checkpoint, experiment.dataset.to_table(), split.track_ids("test"))
        yield from (*leaks, *doubts)
