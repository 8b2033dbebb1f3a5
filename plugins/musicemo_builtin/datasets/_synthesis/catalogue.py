"""Which genre, artist and part the n-th clip has, and its making from a seed."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from musicemo_builtin.datasets._synthesis.arrangement import compose, form_artist
from musicemo_builtin.datasets._synthesis.listeners import Cues, describe
from musicemo_builtin.datasets._synthesis.mixing import play
from musicemo_builtin.datasets._synthesis.score import Score
from musicemo_builtin.datasets._synthesis.styles import STYLES
from musicemo_builtin.datasets._synthesis.timbres import RATE

__all__ = ["GENRES", "VERSION", "Clip", "Section", "Slot", "Stream", "make", "slot", "stream"]

#: To be raised whenever a clip of the same seed and index comes to sound otherwise or to have other cues.
VERSION = 2

GENRES = tuple(sorted(STYLES))

#: Decibels between the softest and the loudest section of a clip, and how far the lengths of sections are from equal.
_RANGE, _UNEVEN = 12.0, 0.3

Part = Literal["train", "val", "test"]
Stream = Literal["music", "artist", "ratings", "missing", "panel", "pairs"]

# The parts of a genre's eight artists; the first three clips of a genre are in three parts.
_PARTS: tuple[Part, ...] = ("train", "test", "val", "train", "train", "train", "test", "train")
_STREAMS: tuple[Stream, ...] = ("music", "artist", "ratings", "missing", "panel", "pairs")


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
class Section:
    """A section of a clip: its start in seconds, its score, and its cues."""

    start: float
    score: Score
    cues: Cues


@dataclass(frozen=True, slots=True)
class Clip:
    """A clip: its sections, and `[samples]` at `timbres.RATE`."""

    sections: tuple[Section, ...]
    samples: NDArray[np.float32]


def slot(index: int) -> Slot:
    """Return what the clip of an index is."""
    artist = index // len(GENRES) % len(_PARTS)
    return Slot(GENRES[index % len(GENRES)], artist, _PARTS[artist])


def stream(seed: int, purpose: Stream, *key: int) -> np.random.Generator:
    """Return the random numbers of one purpose and, say, one clip; they depend on nothing else."""
    return np.random.default_rng([seed, _STREAMS.index(purpose), *key])


def make(seed: int, index: int, duration: float, sections: int = 1) -> Clip:
    """Compose and play one clip of so many seconds.

    The sections of a clip have one artist, tempo and tonic. Everything else is drawn anew: intensity, mood, scale,
    chords, who plays. The less intense a section, the softer it is, by up to `_RANGE` dB.
    """
    what = slot(index)
    artist = form_artist(what.genre, stream(seed, "artist", GENRES.index(what.genre), what.artist))
    rng = stream(seed, "music", index)
    if sections == 1:
        score = compose(artist, duration, rng)
        samples = play(score, rng)
        return Clip((Section(0.0, score, describe(score, samples)),), samples)
    lengths = rng.uniform(1 - _UNEVEN, 1 + _UNEVEN, sections)
    starts = np.round(np.concatenate([[0.0], np.cumsum(lengths / lengths.sum() * duration)]), 2).tolist()
    parts: list[tuple[float, Score, NDArray[np.float32]]] = []
    sound = np.zeros(round(duration * RATE), np.float32)
    for start, end in pairwise([*starts[:-1], duration]):
        score = compose(artist, end - start, rng, parts[0][1] if parts else None)
        samples = play(score, rng) * np.float32(10 ** (_RANGE * (score.intensity - 1) / 20))
        parts.append((start, score, samples))
        place = round(start * RATE)
        sound[place : place + len(samples)] = samples[: len(sound) - place]
    gain = np.float32(0.9 / np.abs(sound).max())
    played = tuple(Section(start, score, describe(score, gain * samples)) for start, score, samples in parts)
    return Clip(played, gain * sound)
