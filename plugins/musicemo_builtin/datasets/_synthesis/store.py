"""The features of synthesised clips on disk: made once, in parallel, complete or absent.

A clip has three files: frame-wise features, beat-synchronous features, and a JSON text, written last, with what
was played and the arrays' shapes. A clip whose files are missing, cut off or contradictory is made again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from musicemo.audio import Recipe, analyse_signal
from musicemo.errors import InputError
from musicemo_builtin.datasets._arrays import FUSED_ROWS, array_shape
from musicemo_builtin.datasets._synthesis.catalogue import make, slot
from musicemo_builtin.datasets._synthesis.listeners import Cues
from musicemo_builtin.datasets._synthesis.timbres import RATE

__all__ = ["Record", "Store"]

Sync = Literal["frame", "beat"]


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

    def read(self, index: int) -> Record | None:
        """Return a clip's record, or None if the clip is not there, or not whole."""
        try:
            stored = json.loads(self._record(index).read_text(encoding="utf-8"))
            for sync in ("frame", "beat"):
                if list(array_shape(self.array(index, sync), FUSED_ROWS)) != stored["shapes"][sync]:
                    return None
            return Record(Cues(**stored["cues"]), stored["played"])
        except (OSError, ValueError, TypeError, KeyError):  # InputError is a ValueError
            return None

    def write(self, index: int) -> None:
        """Make a clip and its features, and write them, the record last.

        Raises:
            OSError: The folder cannot be written to, or the disk is full.
        """
        clip = make(self.seed, index, self.duration)
        features = analyse_signal(clip.samples, Recipe(sample_rate=RATE))
        arrays: dict[Sync, np.ndarray[Any, np.dtype[np.float32]]] = {
            "frame": features.frame,
            "beat": features.beat,
        }
        for sync, array in arrays.items():
            if array.shape[0] != FUSED_ROWS:
                raise InputError(f"synth: the features have {array.shape[0]} rows, expected {FUSED_ROWS}")
            _replace(self.array(index, sync), partial(np.save, arr=array, allow_pickle=False))
        score = clip.score
        record = {
            "shapes": {sync: list(array.shape) for sync, array in arrays.items()},
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
        text = json.dumps(record, indent=1).encode()
        _replace(self._record(index), lambda file: file.write(text))

    def _record(self, index: int) -> Path:
        return self.folder / f"{index:05d}.json"


def _replace(path: Path, write: Callable[[Any], Any]) -> None:
    """Write a file beside `path`, then put it in its place: nobody ever sees half of it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            write(file)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
