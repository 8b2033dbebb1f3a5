"""Decide what a clip is: form an artist, draw tempo, scale, chords and instruments, and have the band play."""

from __future__ import annotations

import math

import numpy as np

from musicemo_builtin.datasets._synthesis.band import Band
from musicemo_builtin.datasets._synthesis.harmony import PROGRESSIONS, chord
from musicemo_builtin.datasets._synthesis.rhythm import Clock
from musicemo_builtin.datasets._synthesis.score import Artist, Score
from musicemo_builtin.datasets._synthesis.styles import STYLES, Style

__all__ = ["compose", "form_artist"]

#: Tonics in semitones from C, the usual ones more than once.
_TONICS = (0, 0, 0, 0, 0, 0, -5, -5, -5, -5, 2, 2, 2, 2, -3, -3, 5, 4)
#: Probability that the drums are silent throughout the clip.
_BREAK = 0.12


def form_artist(genre: str, rng: np.random.Generator) -> Artist:
    """Draw an artist of a genre."""
    style = STYLES[genre]
    family = PROGRESSIONS[_choose(style.progressions, rng)]
    return Artist(
        genre=genre,
        tempo=float(np.exp(rng.normal(0.0, 0.05))),
        intensity=float(rng.normal(0.0, 0.12)),
        tuning=float(rng.uniform(-0.15, 0.15)),
        colour=float(np.exp(rng.normal(0.0, 0.2))),
        reverb=float(np.exp(rng.normal(0.0, 0.3))),
        chords=_choose(style.chords, rng),
        lead=_choose(style.leads, rng),
        bass=_choose(style.basses, rng),
        groove=_choose(style.grooves, rng),
        progression=family[int(rng.integers(len(family)))],
    )


def compose(artist: Artist, duration: float, rng: np.random.Generator, first: Score | None = None) -> Score:
    """Write a clip of an artist, or a section of a piece.

    Args:
        artist: Who plays.
        duration: Length in seconds.
        rng: Draws everything else.
        first: The first section of the piece, whose tempo and tonic the others have.
    """
    style = STYLES[artist.genre]
    intensity = float(np.clip(rng.beta(1.2, 1.2) + artist.intensity, 0.0, 1.0))

    def leaning(bounds: tuple[float, float]) -> float:
        """Draw from a range; the more intense the clip, the higher."""
        return float(np.interp(np.clip(0.75 * intensity + 0.25 * rng.random(), 0, 1), (0, 1), bounds))

    mood = float(rng.beta(1.5, 1.5))
    pace = np.interp(0.6 * mood + 0.4 * rng.random(), (0, 1), np.log(style.tempo))
    tempo = float(np.exp(pace) * artist.tempo)
    scale = _scale(style, mood, rng)
    swing = float(rng.uniform(*style.swing))
    tonic = int(rng.choice(_TONICS))
    if first:
        tempo, tonic = first.tempo, first.tonic

    def favourite(kept: str, choices: tuple[str, ...]) -> str:
        return kept if rng.random() < 0.6 else _choose(choices, rng)

    score = Score(
        genre=artist.genre,
        duration=duration,
        tempo=tempo,
        scale=scale,
        tonic=tonic,
        intensity=intensity,
        mood=mood,
        colour=float(
            artist.colour * np.exp(rng.normal(0, 0.12) + 0.5 * (intensity - 0.5) + 1.2 * (mood - 0.5))
        ),
        tuning=artist.tuning,
        kit=style.kit,
        drive=leaning(style.drive),
        press=leaning(style.press),
        crescendo=float(rng.uniform(*style.crescendo) * rng.choice([-1, 1])),
        reverb=float(rng.uniform(*style.reverb) * artist.reverb),
        dust=float(rng.uniform(*style.dust)),
        pump=float(rng.uniform(*style.pump)),
        swing=swing,
        instruments={
            "chords": favourite(artist.chords, style.chords),
            "lead": favourite(artist.lead, style.leads),
            "bass": favourite(artist.bass, style.basses),
            "pad": _choose(style.pads, rng),
            "groove": "" if rng.random() < _BREAK else favourite(artist.groove, style.grooves),
            "comping": _choose(style.comping, rng),
            "bass line": _choose(style.bass_lines, rng),
        },
    )
    bars = math.ceil(duration * tempo / 240) + 1
    jitter = float(rng.uniform(0.0005, 0.003) if style.kit in ("machine", "808") else rng.uniform(0.004, 0.012))
    clock = Clock(
        tempo,
        4.0 * (bars + 1),
        swing=swing,
        unit=style.swing_unit,
        rubato=float(rng.uniform(*style.rubato)),
        jitter=jitter,
        rng=rng,
    )
    voicing = _choose(style.voicings, rng)
    family = PROGRESSIONS[_choose(style.progressions, rng)]
    degrees = artist.progression if rng.random() < 0.5 else family[int(rng.integers(len(family)))]
    score.chords = [chord(scale, degrees[bar % len(degrees)], voicing) for bar in range(bars)]
    Band(score, clock, leaning(style.density), rng).play()
    score.notes = [note for note in score.notes if note.start < duration]
    score.hits = [hit for hit in score.hits if hit.start < duration]
    return score


def _scale(style: Style, mood: float, rng: np.random.Generator) -> str:
    """Draw a scale: a bright mood makes the major ones more likely."""
    names = list(style.scales)
    leaning = [3.5 * (mood - 0.5) * (1 if name in ("major", "mixolydian") else -1) for name in names]
    weights = np.array(list(style.scales.values())) * np.exp(leaning)
    return str(rng.choice(names, p=weights / weights.sum()))


def _choose(choices: tuple[str, ...], rng: np.random.Generator) -> str:
    return choices[int(rng.integers(len(choices)))]
