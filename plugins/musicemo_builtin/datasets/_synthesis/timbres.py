"""Pitched instruments: additive wavetables under a closing filter, frequency modulation, envelopes, breath."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["RATE", "TIMBRES", "Timbre", "tone"]

RATE = 22050
_SIZE = 2048
_VIBRATO = 5.5  # Hz
_FORMANTS = {"voice": (600.0, 1150.0, 2700.0), "shout": (750.0, 1500.0, 3100.0), "rap": (500.0, 1400.0, 2500.0)}

Samples = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Timbre:
    """How one instrument sounds.

    Attributes:
        spectrum: Strengths of the partials, see `_partials`; ``fm`` is frequency modulation.
        gain: Level beside the other instruments.
        attack: Seconds to full level.
        decay: Time constant of the fall to `sustain`, in seconds.
        sustain: Level that a held note keeps.
        release: Time constant after the note's end, in seconds.
        open: Low-pass cutoff at the onset, in Hz; it falls to `close` with `decay`.
        close: Low-pass cutoff later on, in Hz.
        vibrato: Depth in cents.
        detune: Distance of a second voice in cents, 0 for one voice.
        breath: Level of noise.
        ratio: Modulator's frequency over the carrier's.
        index: Modulation at the onset, in radians.
    """

    spectrum: str
    gain: float = 1.0
    attack: float = 0.005
    decay: float = 0.5
    sustain: float = 0.0
    release: float = 0.05
    open: float = 6000.0
    close: float = 1500.0
    vibrato: float = 0.0
    detune: float = 0.0
    breath: float = 0.0
    ratio: float = 1.0
    index: float = 0.0


TIMBRES: dict[str, Timbre] = {
    "acoustic guitar": Timbre("string", 0.8, 0.003, 0.45, 0.0, 0.08, 7000, 1400),
    "banjo": Timbre("string", 0.7, 0.002, 0.18, 0.0, 0.05, 9000, 2500),
    "electric guitar": Timbre("string", 0.8, 0.004, 1.2, 0.25, 0.04, 5000, 2200),
    "lead guitar": Timbre("saw", 0.6, 0.006, 1.0, 0.7, 0.06, 7000, 4000, vibrato=18, detune=6),
    "jazz guitar": Timbre("string", 0.8, 0.006, 0.5, 0.0, 0.06, 2200, 900),
    "piano": Timbre("piano", 0.9, 0.003, 0.7, 0.0, 0.1, 6000, 1500, detune=2),
    "electric piano": Timbre("fm", 0.7, 0.004, 0.8, 0.0, 0.1, ratio=1.0, index=1.6),
    "bell": Timbre("fm", 0.5, 0.002, 0.5, 0.0, 0.2, ratio=3.5, index=2.5),
    "organ": Timbre("organ", 0.5, 0.01, 1.0, 1.0, 0.03, 6000, 6000, vibrato=8),
    "strings": Timbre("saw", 0.4, 0.09, 1.0, 0.9, 0.15, 3500, 3000, vibrato=14, detune=9),
    "fiddle": Timbre("saw", 0.4, 0.04, 1.0, 0.9, 0.05, 5500, 4500, vibrato=22),
    "cello": Timbre("saw", 0.5, 0.06, 1.0, 0.9, 0.12, 1800, 1400, vibrato=12),
    "pizzicato": Timbre("string", 0.8, 0.003, 0.12, 0.0, 0.05, 3500, 900),
    "flute": Timbre("triangle", 0.6, 0.05, 1.0, 0.9, 0.06, 4000, 4000, vibrato=16, breath=0.06),
    "oboe": Timbre("reed", 0.4, 0.03, 1.0, 0.9, 0.05, 5000, 5000, vibrato=14),
    "harmonica": Timbre("reed", 0.45, 0.03, 1.0, 0.9, 0.05, 4500, 4500, vibrato=20, detune=8, breath=0.03),
    "saxophone": Timbre("reed", 0.5, 0.03, 0.6, 0.8, 0.05, 4500, 2500, vibrato=18, breath=0.05),
    "trumpet": Timbre("fm", 0.5, 0.03, 0.4, 0.8, 0.05, vibrato=10, ratio=1.0, index=3.0),
    "saw synth": Timbre("saw", 0.4, 0.004, 0.25, 0.5, 0.06, 8000, 2500, detune=14),
    "square synth": Timbre("square", 0.4, 0.004, 0.2, 0.5, 0.05, 9000, 3000, detune=7),
    "pad": Timbre("saw", 0.25, 0.3, 2.0, 1.0, 0.4, 2200, 2200, detune=17),
    "voice": Timbre("voice", 0.9, 0.05, 1.0, 0.9, 0.06, 8000, 8000, vibrato=28, breath=0.02),
    "shout": Timbre("shout", 0.9, 0.02, 1.0, 0.9, 0.05, 9000, 9000, vibrato=10, detune=35, breath=0.25),
    "rap": Timbre("rap", 1.0, 0.012, 0.12, 0.4, 0.02, 8000, 5000, vibrato=30, breath=0.12),
    "finger bass": Timbre("string", 1.0, 0.006, 0.6, 0.2, 0.05, 1400, 500),
    "pick bass": Timbre("saw", 0.9, 0.003, 0.5, 0.3, 0.04, 2600, 900),
    "upright bass": Timbre("piano", 1.1, 0.012, 0.4, 0.0, 0.06, 1000, 400),
    "synth bass": Timbre("square", 0.8, 0.003, 0.2, 0.5, 0.03, 2000, 600, detune=6),
    "acid bass": Timbre("saw", 0.7, 0.003, 0.1, 0.4, 0.03, 5000, 700),
    "sub bass": Timbre("sine", 1.3, 0.006, 0.9, 0.2, 0.1, 400, 200),
}


def tone(timbre: Timbre, frequency: float, seconds: float, colour: float, rng: np.random.Generator) -> Samples:
    """Synthesise one note at full velocity.

    Args:
        timbre: The instrument.
        frequency: The fundamental, in Hz.
        seconds: From the onset to the release; the release is added.
        colour: Factor on the cutoffs and the modulation index: above 1 is brighter.
        rng: Draws the breath and the phases.

    Returns:
        `[samples]` at `RATE`.
    """
    held = max(1, round(seconds * RATE))
    time = np.arange(held + round(4 * timbre.release * RATE), dtype=np.float32) / np.float32(RATE)
    fall = _fading(time, timbre.decay)
    level = timbre.sustain + (1 - timbre.sustain) * fall
    level *= np.minimum(time / np.float32(timbre.attack), 1.0)
    level[held:] *= _fading(time[: len(time) - held], timbre.release)

    cycles = time * np.float32(frequency)
    if timbre.vibrato:
        depth = frequency * (2 ** (timbre.vibrato / 1200) - 1) / (2 * np.pi * _VIBRATO)
        swell = np.minimum(time / np.float32(0.3), 1.0) * np.float32(depth)
        cycles += swell * np.sin(np.float32(2 * np.pi * _VIBRATO) * time)
    sound = _voice(timbre, frequency, cycles + rng.random(dtype=np.float32), fall, colour)
    if timbre.detune:
        stretched = cycles * np.float32(2 ** (timbre.detune / 1200)) + rng.random(dtype=np.float32)
        sound = np.float32(0.6) * (sound + _voice(timbre, frequency, stretched, fall, colour))
    if timbre.breath:
        sound += np.float32(timbre.breath) * rng.standard_normal(len(time), dtype=np.float32)
    return np.asarray(np.float32(timbre.gain) * level * sound, np.float32)


def _fading(time: Samples, constant: float) -> Samples:
    return np.asarray(np.exp(-time / np.float32(constant)), np.float32)


def _voice(timbre: Timbre, frequency: float, cycles: Samples, fall: Samples, colour: float) -> Samples:
    turn = np.float32(2 * np.pi)
    if timbre.spectrum == "fm":
        index = np.float32(timbre.index * colour) * (0.25 + 0.75 * fall)
        modulator = index * np.sin(turn * np.float32(timbre.ratio) * cycles)
        return np.asarray(np.sin(turn * cycles + modulator), np.float32)
    position = (cycles * _SIZE).astype(np.int32) & (_SIZE - 1)
    partials = max(1, min(64, int(0.45 * RATE / frequency)))
    bright = _table(timbre.spectrum, partials, frequency, timbre.open * colour)[position]
    if timbre.open == timbre.close:
        return np.asarray(bright, np.float32)
    dull = _table(timbre.spectrum, partials, frequency, timbre.close * colour)[position]
    return np.asarray(dull + fall * (bright - dull), np.float32)


@lru_cache(maxsize=1024)
def _table(spectrum: str, partials: int, frequency: float, cutoff: float) -> Samples:
    """Return one cycle of the sum of partials, of unit root mean square before the low-pass filter."""
    number = np.arange(1, partials + 1)
    strength = _partials(spectrum, number, frequency)
    strength = strength / np.sqrt(0.5 * np.sum(strength**2))
    strength = strength / np.sqrt(1 + (number * frequency / cutoff) ** 4)
    phases = np.exp(2j * np.pi * (number * number) * 0.5 / max(partials, 2))  # spreads the peaks
    bins = np.zeros(_SIZE // 2 + 1, complex)
    bins[1 : partials + 1] = strength * phases * _SIZE / 2
    return np.fft.irfft(bins).astype(np.float32)


def _partials(spectrum: str, number: NDArray[np.int64], frequency: float) -> NDArray[np.float64]:
    k = number.astype(np.float64)
    odd = number % 2 == 1
    match spectrum:
        case "sine":
            return np.where(k == 1, 1.0, np.where(k == 2, 0.08, 0.0))
        case "triangle":
            return np.where(odd, 1 / k**2, 0.15 / k**2)
        case "square":
            return np.where(odd, 1 / k, 0.0)
        case "reed":
            return np.where(odd, 1.0, 0.45) / k**0.8
        case "organ":
            return np.isin(number, (1, 2, 3, 4, 6, 8)) / k**0.4
        case "string":
            return np.abs(np.sin(np.pi * k * 0.18)) / k  # plucked at 0.18 of its length
        case "piano":
            return np.abs(np.sin(np.pi * k / 8.3)) / k**1.1
        case "voice" | "shout" | "rap":
            pitch = k * frequency
            peaks = sum(
                w / (1 + ((pitch - f) / 130) ** 2)
                for f, w in zip(_FORMANTS[spectrum], (1, 0.7, 0.4), strict=True)
            )
            return (0.05 + peaks) / np.sqrt(k)
        case _:
            return 1 / k
