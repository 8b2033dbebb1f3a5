"""A clip as it is to be played."""

from __future__ import annotations

from dataclasses import dataclass, field

from musicemo_builtin.datasets._synthesis.harmony import Chord

__all__ = ["Artist", "Hit", "Note", "Score"]


@dataclass(frozen=True, slots=True)
class Note:
    """A pitched note: onset and duration in seconds, MIDI pitch, velocity in (0, 1], and who plays it."""

    start: float
    seconds: float
    pitch: float
    velocity: float
    instrument: str
    role: str


@dataclass(frozen=True, slots=True)
class Hit:
    """A drum stroke: onset in seconds, drum, velocity in (0, 1]."""

    start: float
    drum: str
    velocity: float


@dataclass(frozen=True, slots=True)
class Artist:
    """What an artist's tracks share: favourites, and offsets from the genre's habits."""

    genre: str
    tempo: float
    intensity: float
    tuning: float
    colour: float
    reverb: float
    chords: str
    lead: str
    bass: str
    groove: str
    progression: tuple[int, ...]


@dataclass(slots=True)
class Score:
    """A clip as it is to be played, and the choices behind it.

    Attributes:
        genre: A key of `styles.STYLES`.
        duration: Seconds.
        tempo: Beats a minute, on average.
        scale: A key of `harmony.SCALES`.
        tonic: Semitones above or below C.
        intensity: From 0 to 1: how loud, dense and driven.
        mood: From 0 to 1: the brighter, the more likely are major scales, fast tempi, bright sounds, high tunes.
        colour: Factor on every instrument's brightness.
        tuning: Semitones above or below concert pitch.
        kit: A key of `drums.KITS`.
        drive, press, crescendo, reverb, dust, pump, swing: See `styles.Style`.
        instruments: Who plays each role (chords, lead, bass, pad), and the names of groove and rhythms.
        chords: One a bar.
        notes: In no particular order.
        hits: In no particular order.
    """

    genre: str
    duration: float
    tempo: float
    scale: str
    tonic: int
    intensity: float
    mood: float
    colour: float
    tuning: float
    kit: str
    drive: float
    press: float
    crescendo: float
    reverb: float
    dust: float
    pump: float
    swing: float
    instruments: dict[str, str]
    chords: list[Chord] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    hits: list[Hit] = field(default_factory=list)
