"""Drums: the sounds of each kit, and patterns of sixteen steps a bar."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from musicemo_builtin.datasets._synthesis.timbres import RATE

__all__ = ["GROOVES", "KITS", "Kit", "drum"]

Samples = NDArray[np.float32]

#: Groove -> drum -> steps: ``x`` a stroke, ``o`` a soft one, ``.`` none.
GROOVES: dict[str, Mapping[str, str]] = {
    "": {},
    "rock": {"kick": "x.....x.x.......", "snare": "....x.......x...", "hat": "x.x.x.x.x.x.x.x."},
    "pop": {"kick": "x......xx.......", "snare": "....x.......x..o", "hat": "x.o.x.o.x.o.x.o."},
    "punk": {"kick": "x..x..x.x..x..x.", "snare": "..x...x...x...x.", "crash": "x.......x......."},
    "half time": {"kick": "x.....x...x.....", "snare": "........x.......", "crash": "x...x...x...x..."},
    "double kick": {"kick": "xxxxxxxxxxxxxxxx", "snare": "....x.......x...", "crash": "x...x...x...x..."},
    "house": {"kick": "x...x...x...x...", "clap": "....x.......x...", "open hat": "..x...x...x...x."},
    "disco": {"kick": "x...x...x...x...", "snare": "....x.......x...", "hat": "x.xxx.xxx.xxx.xx"},
    "techno": {"kick": "x...x...x...x...", "hat": "xoxoxoxoxoxoxoxo", "rim": "...x..x....x..x."},
    "trance": {"kick": "x...x...x...x...", "open hat": "..x...x...x...x.", "hat": "oooooooooooooooo"},
    "breakbeat": {"kick": "x.x.......xx....", "snare": "....x..o.o..x..o", "hat": "x.x.x.x.x.x.x.x."},
    "boom bap": {"kick": "x.......x.x.....", "snare": "....x.......x...", "hat": "x.x.x.x.x.x.x.x."},
    "boom bap 2": {"kick": "x..x......x..x..", "snare": "....x.......x...", "hat": "x.xox.x.x.xox.x."},
    "trap": {"kick": "x......x..x.....", "clap": "........x.......", "hat": "x.xxx.x.xxxxx.xx"},
    "trip": {"kick": "x.........x..o..", "snare": "....x..o....x...", "hat": "x...x.o.x...x.o."},
    "shuffle": {"kick": "x.......x.......", "snare": "....x.......x...", "ride": "x.x.x.x.x.x.x.x."},
    "jazz": {
        "ride": "x...x.x.x...x.x.",
        "hat": "....x.......x...",
        "kick": "o.......o.......",
        "rim": "......o.......o.",
    },
    "brushes": {"brush": "x.o.x.o.x.o.x.o.", "hat": "....o.......o...", "kick": "o.......o......."},
    "bossa": {"rim": "x..x..x...x..x..", "ride": "o.o.o.o.o.o.o.o.", "kick": "o.....o.o.....o."},
    "shaker": {"shaker": "xoxoxoxoxoxoxoxo", "kick": "o.......o......."},
    "timpani": {"timpani": "x.......x.....oo"},
}


@dataclass(frozen=True, slots=True)
class Kit:
    """How a set of drums is tuned: factors on pitch, length and brightness, and the level of its noise."""

    pitch: float = 1.0
    length: float = 1.0
    bright: float = 1.0
    noise: float = 1.0


KITS: dict[str, Kit] = {
    "studio": Kit(),
    "soft": Kit(1.15, 0.7, 0.7, 0.5),
    "hard": Kit(0.95, 1.2, 1.3, 1.3),
    "machine": Kit(0.9, 0.8, 1.5, 0.9),
    "808": Kit(0.75, 1.9, 1.2, 0.8),
    "dusty": Kit(0.85, 1.1, 0.5, 0.8),
}

# Drum -> level, start and end pitch in Hz, pitch's fall, decay in s, share of noise, the noise's lowest Hz.
_SOUNDS: dict[str, tuple[float, float, float, float, float, float, float]] = {
    "kick": (1.5, 150, 48, 0.03, 0.13, 0.04, 0),
    "timpani": (1.1, 95, 85, 0.05, 0.5, 0.05, 0),
    "snare": (0.9, 230, 185, 0.02, 0.09, 0.75, 900),
    "clap": (0.8, 0, 0, 0.02, 0.09, 1.0, 1000),
    "rim": (0.5, 1700, 1650, 0.01, 0.02, 0.3, 1500),
    "hat": (0.35, 0, 0, 0.01, 0.03, 1.0, 6500),
    "open hat": (0.4, 0, 0, 0.01, 0.14, 1.0, 5500),
    "ride": (0.35, 3300, 3300, 0.1, 0.25, 0.93, 4500),
    "crash": (0.4, 0, 0, 0.1, 0.45, 1.0, 3500),
    "brush": (0.35, 0, 0, 0.1, 0.11, 1.0, 2000),
    "shaker": (0.25, 0, 0, 0.1, 0.05, 1.0, 5000),
}


def drum(name: str, kit: Kit, rng: np.random.Generator) -> Samples:
    """Synthesise one stroke at full velocity: a falling sine and high-passed noise.

    Returns:
        `[samples]` at `timbres.RATE`.
    """
    level, start, end, fall, decay, noise, lowest = _SOUNDS[name]
    decay *= kit.length
    time = np.arange(round(min(6 * decay, 2.0) * RATE), dtype=np.float32) / RATE
    envelope = np.exp(-time / decay) * np.minimum(time / 0.001, 1.0)
    sound = np.zeros_like(time)
    if start:
        cycles = kit.pitch * (end * time + (start - end) * fall * (1 - np.exp(-time / fall)))
        sound += (1 - noise) * np.sin(2 * np.pi * cycles)
    hiss = _highpass(rng.standard_normal(len(time), dtype=np.float32), min(lowest * kit.bright, 9000.0))
    return (level * envelope * (sound + noise * kit.noise * hiss)).astype(np.float32)


def _highpass(signal: Samples, cutoff: float) -> Samples:
    """Remove what lies below `cutoff` Hz, in the frequency domain, with a soft edge."""
    if not cutoff:
        return signal
    frequencies = np.fft.rfftfreq(len(signal), 1 / RATE)
    response = 1 / (1 + (cutoff / np.maximum(frequencies, 1.0)) ** 6)
    return np.fft.irfft(np.fft.rfft(signal) * response, len(signal)).astype(np.float32)
