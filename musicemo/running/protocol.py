"""Whether a run follows a published protocol: its sets, its features, and music that was seen before."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from musicemo.data import Split, Tracks, hash_ids
from musicemo.experiment import Experiment
from musicemo.running.transfer import find_leaks

__all__ = ["describe_conformity"]


def describe_conformity(
    experiment: Experiment, tracks: Tracks, split: Split, fold: int | None, checkpoint: Path | None
) -> dict[str, Any] | None:
    """Return what `results.json` records of the protocol of an experiment; None if it has none.

    ``departures`` are the reasons why its results are not comparable with the published ones, one sentence each.
    ``sets`` has the number of tracks of each set, those of the protocol (``expected``), and whether they are the same
    tracks. The other keys are those of `Protocol.to_json`.

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
    sets: dict[str, dict[str, Any]] = {}
    for part, wanted in protocol.table.sets.items():
        ids = split.track_ids(part)
        if part == "train" and "val" not in protocol.table.sets:
            ids += split.track_ids("val")
        expected = wanted.hash[fold or 0] if isinstance(wanted.hash, list) else wanted.hash
        same = len(ids) == wanted.tracks if expected is None else hash_ids(ids) == expected
        sets[part] = {"tracks": len(ids), "expected": wanted.tracks, "same": same}
    departures = [
        *_of_sets(sets),
        *protocol.deviations(experiment.features),
        *tracks.seen,
        *_undeclared(tracks),
        *_seen_before(experiment, split, checkpoint),
    ]
    if experiment.split.fold is not None:
        departures.append(f"it is fold {experiment.split.fold} of {experiment.split.folds} only")
    return {**protocol.to_json(), "sets": sets, "departures": departures}


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
