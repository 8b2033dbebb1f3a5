"""The features of synthesised clips on disk: made once, in parallel, complete or absent.

A clip has three files: frame-wise features, beat-synchronous features, and a JSON text, written last, with the
clip's seed, number and duration, what was played, and the arrays' shapes and checksums. A clip whose files are
missing, damaged or of another clip is made again.
"""

from __future__ import annotations

import zlib
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import numpy as np

from musicemo.errors import InputError
from musicemo.features import Recipe, analyse_signal
from musicemo.files import read_json, write_bytes, write_json
from musicemo.workers import one_thread
from musicemo_builtin.datasets._arrays import FUSED_ROWS, array_shape
from musicemo_builtin.datasets._synthesis.catalogue import make, slot
from musicemo_builtin.datasets._synthesis.listeners import Cues
from musicemo_builtin.datasets._synthesis.timbres import RATE

__all__ = ["Record", "Store"]

Sync = Literal["frame", "beat"]
_SYNCS: tuple[Sync, ...] = ("frame", "beat")


@dataclass(frozen=True, slots=True)
class Record:
    """What is kept of a clip beside its arrays."""

    cues: Cues
    played: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Store:
    """A folder with the clips of one seed and one duration; picklable, so that it goes to worker processes."""

    folder: Path
    seed: int
    duration: float

    def array(self, index: int, sync: Sync) -> Path:
        """Return where the features of a clip are."""
        return self.folder / f"{index:05d}.{sync}.npy"

    def read(self, index: int, sync: Sync | None = None) -> Record | None:
        """Return a clip's record, or None if the clip is missing or damaged.

        Args:
            index: The clip's number.
            sync: The features to compare with their checksum; None is all.
        """
        try:
            stored = read_json(self._record(index))
            if stored["clip"] != self._clip(index):
                return None
            for name in _SYNCS:
                path = self.array(index, name)
                if list(array_shape(path, FUSED_ROWS)) != stored["shapes"][name]:
                    return None
                if sync in (None, name) and zlib.crc32(path.read_bytes()) != stored["checksums"][name]:
                    return None
            return Record(Cues(**stored["cues"]), stored["played"])
        except (OSError, ValueError, TypeError, KeyError, RecursionError):  # InputError is a ValueError
            return None

    def write(self, index: int) -> None:
        """Make a clip and its features, and write them, the record last.

        Raises:
            RunError: The folder cannot be written to, or the disk is full.
        """
        with one_thread():  # so that the same features come out of any number of cores
            clip = make(self.seed, index, self.duration)
        features = analyse_signal(clip.samples, Recipe(sample_rate=RATE))
        contents: dict[Sync, bytes] = {}
        for sync in _SYNCS:
            array = features.frame if sync == "frame" else features.beat
            if array.shape[0] != FUSED_ROWS:
                raise InputError(f"synth: the features have {array.shape[0]} rows, expected {FUSED_ROWS}")
            file = BytesIO()
            np.save(file, array, allow_pickle=False)
            contents[sync] = file.getvalue()
            write_bytes(self.array(index, sync), contents[sync])
        score = clip.score
        record = {
            "clip": self._clip(index),
            "shapes": {"frame": list(features.frame.shape), "beat": list(features.beat.shape)},
            "checksums": {sync: zlib.crc32(content) for sync, content in contents.items()},
            "cues": asdict(clip.cues),
            "played": {
                "genre": score.genre,
                "artist": slot(index).name,
                "scale": score.scale,
                "tonic": score.tonic % 12,
                "swing": score.swing,
                **score.instruments,
            },
        }
        write_json(self._record(index), record)

    def _clip(self, index: int) -> dict[str, Any]:
        return {"seed": self.seed, "number": index, "duration": self.duration}

    def _record(self, index: int) -> Path:
        return self.folder / f"{index:05d}.json"
