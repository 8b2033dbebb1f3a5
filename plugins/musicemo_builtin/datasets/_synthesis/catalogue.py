"""Which genre, artist and part the n-th clip has, and its making from a seed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from musicemo_builtin.datasets._synthesis.arrangement import compose, form_artist
from musicemo_builtin.datasets._synthesis.listeners import Cues, describe
from musicemo_builtin.datasets._synthesis.mixing import play
from musicemo_builtin.datasets._synthesis.score import Score
from musicemo_builtin.datasets._synthesis.styles import STYLES

__all__ = ["GENRES", "VERSION", "Clip", "Slot", "Stream", "make", "slot", "stream"]

#: To be raised whenever a clip of the same seed and index comes to sound otherwise or to have other cues.
VERSION = 2

GENRES = tuple(sorted(STYLES))

Part = Literal["train", "val", "test"]
Stream = Literal["music", "artist", "ratings", "missing", "panel"]

# The parts of a genre's eight artists; the first three clips of a genre are in three parts.
_PARTS: tuple[Part, ...] = ("train", "test", "val", "train", "train", "train", "test", "train")
_STREAMS: tuple[Stream, ...] = ("music", "artist", "ratings", "missing", "panel")


@dataclass(frozen=True, slots=True)
class Slot:
    """What the n-th clip is, whatever the seed: genres take turns, and so do the artists of a genre."""

    genre: str
    artist: int
    part: Part

    @property
    def name(self) -> str:
        """The artist's name."""
        return f"{self.genre.lower()}-{self.artist + 1}"


@dataclass(frozen=True, slots=True)
class Clip:
    """A clip: its score, `[samples]` at `timbres.RATE`, and its cues."""

    score: Score
    samples: NDArray[np.float32]
    cues: Cues


def slot(index: int) -> Slot:
    """Return what the clip of an index is."""
    artist = index // len(GENRES) % len(_PARTS)
    return Slot(GENRES[index % len(GENRES)], artist, _PARTS[artist])


def stream(seed: int, purpose: Stream, *key: int) -> np.random.Generator:
    """Return the random numbers of one purpose and, say, one clip; they depend on nothing else."""
    return np.random.default_rng([seed, _STREAMS.index(purpose), *key])


def make(seed: int, index: int, duration: float) -> Clip:
    """Compose and play one clip of so many seconds."""
    what = slot(index)
    artist = form_artist(what.genre, stream(seed, "artist", GENRES.index(what.genre), what.artist))
    rng = stream(seed, "music", index)
    score = compose(artist, duration, rng)
    samples = play(score, rng)
    return Clip(score, samples, describe(score, samples))
