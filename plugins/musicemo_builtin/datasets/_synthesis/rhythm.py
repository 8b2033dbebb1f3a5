"""Rhythms of accompaniment and bass, and the clock that turns beats into seconds."""

from __future__ import annotations

import numpy as np

__all__ = ["BASS_LINES", "COMPING", "Clock", "steps"]

#: Name -> sixteen steps a bar and the length of a stroke in steps (0: until the next one).
COMPING: dict[str, tuple[str, float]] = {
    "whole": ("x...............", 0),
    "block": ("x.......x.......", 0),
    "strum": ("x...x.o.o.x.x.o.", 0),
    "eighths": ("x.o.x.o.x.o.x.o.", 1.8),
    "sixteenths": ("xoooxoooxoooxooo", 0.8),
    "gallop": ("x.ooxoo.x.ooxoo.", 0.9),
    "chug": ("x..x..x.x..x.xoo", 1.2),
    "offbeat": ("..x...x...x...x.", 1.2),
    "charleston": ("x.....x.........", 2.5),
    "stabs": ("...x..x....x....", 1.0),
    "shuffle": ("x.o.x.o.x.o.x.o.", 1.5),
    "boom-chick": ("x...x...x...x...", 2.0),
    "arpeggio": ("x.x.x.x.x.x.x.x.", 4.0),
    "arpeggio 16": ("xoxoxoxoxoxoxoxo", 2.0),
    "alberti": ("x.o.x.o.x.o.x.o.", 2.0),
}

#: Name -> the same for the bass; ``kick`` follows the kick drum.
BASS_LINES: dict[str, tuple[str, float]] = {
    "long": ("x...............", 0),
    "roots": ("x.......x.......", 0),
    "walking": ("x...x...x...x...", 3.6),
    "eighths": ("x.x.x.x.x.x.x.x.", 1.8),
    "sixteenths": ("x.xxx.xxx.xxx.xx", 0.8),
    "offbeat": ("..x...x...x...x.", 1.6),
    "kick": ("x.....x.x.......", 0),
}


def steps(pattern: str, length: float = 0) -> list[tuple[float, float, float]]:
    """Return the strokes of a bar as onset and duration in beats and velocity in [0, 1]."""
    onsets = [step for step, stroke in enumerate(pattern) if stroke in "xo"]
    strokes = []
    for step, following in zip(onsets, [*onsets, len(pattern)][1:], strict=True):
        duration = length or following - step
        strokes.append((step / 4, duration / 4, 1.0 if pattern[step] == "x" else 0.6))
    return strokes


class Clock:
    """Beats to seconds: tempo, its ebb and flow, swing, and the players' inaccuracy.

    Args:
        tempo: Beats a minute.
        beats: How many beats there are at most.
        swing: Where the off-beat falls in its pair, from 0.5.
        unit: Beats a swung pair takes.
        rubato: Depth of the tempo's changes.
        jitter: Standard deviation of an onset, in seconds.
        rng: Draws the changes and the inaccuracy.
    """

    def __init__(
        self,
        tempo: float,
        beats: float,
        *,
        swing: float,
        unit: float,
        rubato: float,
        jitter: float,
        rng: np.random.Generator,
    ) -> None:
        self.tempo, self.swing, self.unit, self.jitter = tempo, swing, unit, jitter
        self._rng = rng
        self._beats = np.arange(0.0, beats + 2.0, 0.25)
        phase, period = rng.uniform(0, 2 * np.pi), rng.choice([4.0, 8.0])
        wave = np.sin(2 * np.pi * self._beats / period + phase)
        drift = np.cumsum(rng.normal(0.0, 0.25, len(self._beats)))
        local = np.exp(rubato * (wave + np.clip(drift - drift.mean(), -2, 2)))
        self._seconds = np.concatenate([[0.0], np.cumsum(15.0 / (tempo * local))[:-1]])

    def __call__(self, beat: float) -> float:
        """Return when something written at `beat` is played, in seconds."""
        pair, within = divmod(beat / self.unit, 1.0)
        if within < 0.5:
            within *= 2 * self.swing
        else:
            within = self.swing + (within - 0.5) * 2 * (1 - self.swing)
        exact = float(np.interp((pair + within) * self.unit, self._beats, self._seconds))
        return max(0.0, exact + self.jitter * float(self._rng.standard_normal()))
