"""What every dataset must hold, checked offline: call `assert_conforms(dataset)` on an instance."""

from __future__ import annotations

import math
import pickle
from pathlib import Path

import numpy as np

from musicemo.audio import Recipe
from musicemo.contracts import Dataset, Track


def assert_conforms(dataset: Dataset) -> list[Track]:
    """Check declarations, tracks and arrays against `musicemo.contracts`; return the tracks."""
    assert isinstance(dataset, Dataset)
    declared = {target.name: target for target in dataset.targets}
    assert declared, "a dataset declares at least one target"
    assert len(declared) == len(dataset.targets), "target names are unique"
    for target in dataset.targets:
        if target.kind == "regression":
            assert target.range[0] < target.range[1], target
        else:
            assert len(set(target.classes)) == len(target.classes) > 0, target

    sync, recipe = getattr(dataset, "sync", None), getattr(dataset, "recipe", None)
    assert sync in (None, "beat", "frame")
    assert recipe is None or isinstance(recipe, Recipe)
    if getattr(dataset, "_recordings", None) is not None:
        assert sync, "what is trained on audio says what its columns are, so that it can predict songs"
        assert recipe, "what is trained on audio says what its features were made with"

    tracks = list(dataset.tracks())
    assert tracks, "a dataset has at least one track"
    assert len({track.id for track in tracks}) == len(tracks), "ids are unique"
    for track in tracks:
        assert track.id
        assert isinstance(track.id, str)
        assert track.group is None or (isinstance(track.group, str) and track.group)
        assert track.part in (None, "train", "val", "test")
        assert set(track.targets) <= set(declared), f"{track.id} has targets that are not declared"
        assert set(track.ratings) <= set(declared), f"{track.id} has ratings of targets that are not declared"
        for name, value in track.targets.items():
            if value is None:
                continue
            target = declared[name]
            if target.kind == "classification":
                assert value in target.classes, (track.id, name, value)
            else:
                assert isinstance(value, float), (track.id, name, value)
                assert target.range[0] <= value <= target.range[1], (track.id, name, value)
        for name, ratings in track.ratings.items():
            low, high = declared[name].range
            assert all(low <= rating <= high for rating in ratings), (track.id, name)
        assert_readable(track, dataset.rows)

    again = list(dataset.tracks())
    assert [(t.id, t.part, t.group, dict(t.targets)) for t in again] == [
        (t.id, t.part, t.group, dict(t.targets)) for t in tracks
    ], "the order and the content are the same each time"
    thawed = pickle.loads(pickle.dumps(dataset))  # noqa: S301  # our own bytes, made in the same expression
    assert [t.id for t in thawed.tracks()] == [t.id for t in tracks], "a dataset goes to worker processes"
    return tracks


def assert_readable(track: Track, rows: slice) -> None:
    """Check that a track's array is `[rows, frames]`, floating-point, finite, and holds the rows asked for."""
    features = track.features
    if isinstance(features, Path):
        features = np.load(features, mmap_mode="r", allow_pickle=False)
    assert features.ndim == 2, track.id
    assert features.dtype.kind == "f", track.id
    assert features.shape[1] > 0, track.id
    chosen = np.asarray(features[rows])
    assert chosen.shape[0] == len(range(*rows.indices(10**6))), f"{track.id}: rows are cut short by the array"
    assert all(math.isfinite(bound) for bound in (chosen.min(), chosen.max())), track.id
