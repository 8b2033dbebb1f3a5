"""Play a score: notes and drums to one mono signal, through distortion, room, record and master."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from musicemo_builtin.datasets._synthesis.drums import KITS, drum
from musicemo_builtin.datasets._synthesis.score import Score
from musicemo_builtin.datasets._synthesis.timbres import RATE, TIMBRES, tone

__all__ = ["play"]

Samples = NDArray[np.float32]

_LEVELS = {"chords": 0.3, "pad": 0.16, "bass": 0.42, "lead": 0.36}
_DRUMS = 0.55


def play(score: Score, rng: np.random.Generator) -> Samples:
    """Play a score.

    Args:
        score: What to play.
        rng: Draws breath, drum noise, the room and the record's dust.

    Returns:
        `[samples]` at `timbres.RATE`, with a peak of 0.9.
    """
    count = round(score.duration * RATE)
    parts = {role: np.zeros(count, np.float32) for role in _LEVELS}
    for note in score.notes:
        frequency = 440.0 * 2 ** ((note.pitch - 69) / 12)
        sound = tone(
            TIMBRES[note.instrument], frequency, note.seconds, score.colour * (0.6 + 0.6 * note.velocity), rng
        )
        _add(parts[note.role], sound, note.start, note.velocity**1.5)
    if score.drive > 0:
        parts["chords"] = _amplify(parts["chords"], score.drive)
    tuned = sum((_LEVELS[role] * part for role, part in parts.items()), np.zeros(count, np.float32))
    drums, pumped = _drums(score, count, rng)
    mix = tuned * pumped + _DRUMS * drums
    mix = mix + score.reverb * _room(mix, rng)
    ramp = np.linspace(-0.5, 0.5, count, dtype=np.float32) * score.crescendo
    mix = mix * 10 ** (ramp / 20)
    mix = np.tanh(score.press * mix / np.sqrt(np.mean(mix**2) + 1e-9) * 0.5)
    mix = 0.9 * mix / (np.abs(mix).max() + 1e-9)
    if score.dust > 0:
        mix = mix + _record(count, score.dust, rng)
    return np.asarray(0.9 * mix / (np.abs(mix).max() + 1e-9), np.float32)


def _add(target: Samples, sound: Samples, start: float, level: float) -> None:
    first = round(start * RATE)
    room = len(target) - first
    if room > 0:
        target[first : first + len(sound)] += np.float32(level) * sound[:room]


def _amplify(signal: Samples, drive: float) -> Samples:
    """Distort as an overdriven valve amplifier does, and keep what its loudspeaker passes."""
    from scipy.signal import butter, sosfilt

    loudspeaker = butter(2, [90, 4800], "bandpass", fs=RATE, output="sos")
    reference = np.sqrt(np.mean(signal**2)) + 1e-9
    shaped = np.tanh(drive * signal / reference * 0.4 + 0.1) - np.tanh(0.1)
    shaped *= 1.2 * reference / (np.sqrt(np.mean(shaped**2)) + 1e-9)
    return np.asarray(sosfilt(loudspeaker, shaped), np.float32)


def _drums(score: Score, count: int, rng: np.random.Generator) -> tuple[Samples, Samples]:
    """Return the drums, and the gain by which the kick ducks all else; each drum has three takes."""
    kit = KITS[score.kit]
    drums = np.zeros(count, np.float32)
    pumped = np.ones(count, np.float32)
    takes: dict[str, list[Samples]] = {}
    dip = 1 - score.pump * np.exp(-np.arange(round(0.35 * RATE), dtype=np.float32) / (0.1 * RATE))
    for index, hit in enumerate(score.hits):
        if hit.drum not in takes:
            takes[hit.drum] = [drum(hit.drum, kit, rng) for _ in range(3)]
        _add(drums, takes[hit.drum][index % 3], hit.start, hit.velocity**1.5)
        if hit.drum == "kick" and score.pump > 0:
            first = round(hit.start * RATE)
            part = pumped[first : first + len(dip)]
            np.minimum(part, dip[: len(part)], out=part)
    return drums, pumped


def _room(signal: Samples, rng: np.random.Generator) -> Samples:
    """Convolve with decaying noise: a room of 0.9 s, darker the later."""
    from scipy.signal import fftconvolve

    time = np.arange(round(0.9 * RATE), dtype=np.float32) / RATE
    noise = rng.standard_normal(len(time), dtype=np.float32)
    late = np.convolve(noise, np.ones(4, np.float32) / 2, mode="same")
    blend = np.minimum(time / 0.4, 1.0)
    response = ((1 - blend) * noise + blend * late) * np.exp(-time / 0.22)
    response /= np.sqrt(np.sum(response**2))
    return np.asarray(fftconvolve(signal, response)[: len(signal)], np.float32)


def _record(count: int, level: float, rng: np.random.Generator) -> Samples:
    """Return the hiss and the crackle of a worn record."""
    noise = 0.4 * level * rng.standard_normal(count, dtype=np.float32)
    ticks = rng.integers(0, count, max(1, round(count / RATE * 8)))
    noise[ticks] += rng.normal(0, 12 * level, len(ticks)).astype(np.float32)
    return np.asarray(noise, np.float32)
