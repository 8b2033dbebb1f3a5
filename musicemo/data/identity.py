"""The identity of a run's data: checksums of every track's labels and features."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import zlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from musicemo.contracts import ArrayFile, FeatureArray, Series, Track
from musicemo.data.pairs import judgements
from musicemo.data.tasks import Task
from musicemo.data.tracks import Tracks
from musicemo.errors import InputError

__all__ = ["DataIdentity", "features_checksums", "identify_data"]

#: Bytes that are read at once.
_BLOCK = 2**20

#: File -> its size, time of change and inode, and the checksum of its content.
_FILES: dict[Path, tuple[tuple[int, ...], int]] = {}


@dataclass(frozen=True)
class DataIdentity:
    """Checksums of the labels and features of some tracks, independent of the location of the files."""

    #: SHA-256 of the tasks and the rows that are used, of every track's labels, and of every track's features.
    tasks: str
    labels: str
    features: str
    #: Track -> eight hexadecimal digits of its labels, and of its features.
    tracks: Mapping[str, tuple[str, str]]

    def to_json(self, ids: Sequence[str]) -> dict[str, str]:
        """Return the tracks' checksums, eight characters per track, in the order of `ids`."""
        every = [self.tracks[name] for name in ids]
        return {"labels": "".join(one for one, _ in every), "features": "".join(one for _, one in every)}


def identify_data(tracks: Tracks, others: Sequence[str] = ()) -> DataIdentity:
    """Return the identity of an experiment's tracks.

    Labels are the targets of the tasks and of `others`, the listeners' ratings, the group and the official split. The
    checksum of a feature file covers all its bytes, that of an array in memory the selected rows.

    Args:
        tracks: the tracks.
        others: targets of the dataset that are not tasks but affect the results.
    """
    columns = {name: tracks.column(name) for name in others}
    every: dict[str, tuple[str, str]] = {}
    for index, track in enumerate(tracks.tracks):
        encoded = tracks.targets[index].tolist()
        for _, values in columns.values():
            encoded += np.atleast_1d(values[index]).tolist()
        ratings = {
            task.target: [
                _series(rating) if isinstance(rating, Series) else float(rating)
                for rating in track.ratings[task.target]
            ]
            for task in tracks.tasks
            if track.ratings.get(task.target) is not None
        }
        over_time = {
            name: [rated.times.tolist(), rated.values.tolist()]
            for name, series in tracks.series.items()
            if (rated := series[index]) is not None
        }
        facts = [
            encoded,
            ratings,
            track.group,
            track.part,
            track.source,
            *([over_time] if tracks.series else []),
        ]
        if judged := [task.target for task in tracks.tasks if task.kind == "pairs"]:
            facts.append([[dataclasses.astuple(one) for one in judgements(track, name)] for name in judged])
        labels = json.dumps(facts)
        every[track.id] = f"{zlib.crc32(labels.encode()):08x}", f"{_features(track, tracks.rows):08x}"
    described = [_described(task) for task in (*tracks.tasks, *(task for task, _ in columns.values()))]
    rows = [tracks.rows.start, tracks.rows.stop, tracks.rows.step]
    return DataIdentity(
        tasks=_hash([described, [row and int(row) for row in rows]]),
        labels=_hash([[name, labels] for name, (labels, _) in every.items()]),
        features=_hash([[name, features] for name, (_, features) in every.items()]),
        tracks=every,
    )


def _series(series: Series) -> list[Any]:
    return [series.start, series.rate, [value if value == value else None for value in series.values.tolist()]]


def features_checksums(tracks: Tracks, ids: Collection[str]) -> dict[str, str]:
    """Return track -> the checksum of its features, as in `DataIdentity.tracks`, for some tracks.

    Those whose features cannot be read are left out.
    """
    checksums = {track.id: _features(track, tracks.rows) for track in tracks.tracks if track.id in ids}
    return {name: f"{checksum:08x}" for name, checksum in checksums.items() if checksum}


def _described(task: Task) -> list[Any]:
    return [task.name, task.kind, list(task.range), list(task.classes)]


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()


def _features(track: Track, rows: slice) -> int:
    """Return the CRC-32 of a track's features; 0 for those that cannot be read, which training reports."""
    features = track.features
    if isinstance(features, Path | ArrayFile):
        try:
            return _file(features if isinstance(features, Path) else features.path)
        except OSError:
            return 0
    try:
        array = features.read() if isinstance(features, FeatureArray) else features
    except InputError:
        return 0
    if not isinstance(array, np.ndarray) or array.ndim != 2 or array.dtype.hasobject:
        return 0
    values = np.ascontiguousarray(array[:, rows])
    return zlib.crc32(
        values.reshape(-1).view(np.uint8).data, zlib.crc32(f"{values.dtype.str} {values.shape}".encode())
    )


def _file(path: Path) -> int:
    with path.open("rb") as file:
        about = os.fstat(file.fileno())
        now = (about.st_size, about.st_mtime_ns, about.st_ctime_ns, about.st_ino, about.st_dev)
        before, checksum = _FILES.get(path, ((), 0))
        if before == now:
            return checksum
        checksum = 0
        while block := file.read(_BLOCK):
            checksum = zlib.crc32(block, checksum)
    _FILES[path] = now, checksum
    return checksum
