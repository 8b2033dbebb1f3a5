"""Scales, chord progressions and chords, as semitones and scale degrees."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["PROGRESSIONS", "SCALES", "Chord", "chord"]

#: Semitones above the tonic.
SCALES: dict[str, tuple[int, ...]] = {
    "major": (0, 2, 4, 5, 7, 9, 11),
    "mixolydian": (0, 2, 4, 5, 7, 9, 10),
    "dorian": (0, 2, 3, 5, 7, 9, 10),
    "minor": (0, 2, 3, 5, 7, 8, 10),
    "harmonic minor": (0, 2, 3, 5, 7, 8, 11),
    "phrygian": (0, 1, 3, 5, 7, 8, 10),
}

#: Degrees (0 is the tonic) of one chord each, by family.
PROGRESSIONS: dict[str, tuple[tuple[int, ...], ...]] = {
    "songs": ((0, 4, 5, 3), (0, 3, 4, 0), (5, 3, 0, 4), (0, 5, 3, 4), (0, 3, 0, 4)),
    "riffs": ((0, 0, 5, 6), (0, 6, 5, 6), (0, 1, 0, 6), (0, 5, 1, 0), (0, 0, 3, 5)),
    "loops": ((0, 0, 5, 5), (0, 5, 2, 6), (0, 3), (0, 6), (0, 5, 3, 4)),
    "vamps": ((0, 0), (0, 3), (0, 6), (0, 5)),
    "blues": ((0, 3, 0, 4), (0, 0, 3, 0), (0, 3, 4, 0), (4, 3, 0, 4)),
    "jazz": ((1, 4, 0, 5), (0, 5, 1, 4), (2, 5, 1, 4), (1, 4, 0, 0)),
    "cadences": ((0, 4, 0, 3), (0, 3, 4, 0), (0, 5, 3, 4), (0, 1, 4, 0), (5, 1, 4, 0)),
}


@dataclass(frozen=True, slots=True)
class Chord:
    """One chord: its pitches in semitones above the tonic, from the root upwards."""

    pitches: tuple[int, ...]

    @property
    def root(self) -> int:
        """Semitones from the tonic to the root."""
        return self.pitches[0]

    @property
    def third(self) -> int:
        """1 for a major third above the root, -1 for a minor one, 0 without a third."""
        intervals = {(pitch - self.root) % 12 for pitch in self.pitches}
        return 1 if 4 in intervals else -1 if 3 in intervals else 0


def chord(scale: str, degree: int, voicing: str) -> Chord:
    """Stack thirds of a scale on one of its degrees.

    Args:
        scale: A key of `SCALES`.
        degree: 0 for the tonic to 6.
        voicing: ``triad``, ``seventh``, ``dominant`` (major with a minor seventh, whatever the scale) or
            ``power`` (root, fifth, octave).
    """
    steps = SCALES[scale]

    def pitch(step: int) -> int:
        return steps[step % 7] + 12 * (step // 7)

    root = pitch(degree)
    if voicing == "power":
        return Chord((root, root + 7, root + 12))
    if voicing == "dominant":
        return Chord((root, root + 4, root + 7, root + 10))
    size = 4 if voicing == "seventh" else 3
    return Chord(tuple(pitch(degree + 2 * third) for third in range(size)))
