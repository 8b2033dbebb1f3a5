"""What was played in synthesized clips, on disk: computed once, in parallel.

A clip has a JSON text with its seed, number and duration, and what was played. A clip whose text is missing, damaged or
of another clip is played again.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from musicemo.files import read_json, write_json
from musicemo.workers import one_thread
from musicemo_builtin.datasets._synthesis.catalogue import make, slot
from musicemo_builtin.datasets._synthesis.listeners import Cues

__all__ = ["Passage", "Record", "Store"]


@dataclass(frozen=True, slots=True)
class Passage:
    """What is kept of a section of a clip: its start in seconds, its cues, and what plays."""

    start: float
    cues: Cues
    played: dict[str, Any]


Record = tuple[Passage, ...]
"""What is kept of a clip: its sections."""


@dataclass(frozen=True, slots=True)
class Store:
    """A folder with the clips of one seed, duration and number of sections; picklable, for worker processes."""

    folder: Path
    seed: int
    duration: float
    sections: int = 1

    def read(self, index: int) -> Record | None:
        """Return a clip's record, or None if it is missing or damaged.

        Args:
            index: The clip's number.
        """
        try:
            stored = read_json(self._record(index))
            if stored["clip"] != self._clip(index):
                return None
            return tuple(
                Passage(float(part["start"]), Cues(**part["cues"]), part["played"])
                for part in stored["sections"]
            )
        except (OSError, ValueError, TypeError, KeyError, RecursionError):  # InputError is a ValueError
            return None

    def write(self, index: int) -> None:
        """Play a clip and write its record.

        Raises:
            RunError: The folder cannot be written to, or the disk is full.
        """
        with one_thread():  # so that the same record comes out of any number of cores
            clip = make(self.seed, index, self.duration, self.sections)
        sections = [
            {
                "start": section.start,
                "cues": asdict(section.cues),
                "played": {
                    "genre": section.score.genre,
                    "artist": slot(index).name,
                    "scale": section.score.scale,
                    "tonic": section.score.tonic % 12,
                    "swing": section.score.swing,
                    **section.score.instruments,
                },
            }
            for section in clip.sections
        ]
        write_json(self._record(index), {"clip": self._clip(index), "sections": sections})

    def _clip(self, index: int) -> dict[str, Any]:
        return {"seed": self.seed, "number": index, "duration": self.duration, "sections": self.sections}

    def _record(self, index: int) -> Path:
        return self.folder / f"{index:05d}.json"
