"""How far a clip's tuning is from A4 = 440 Hz."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from musicemo._jit import compiled

__all__ = ["estimate_tuning", "peaks"]

_LOWEST_HZ, _HIGHEST_HZ = 150.0, 4000.0
_PART_OF_MAXIMUM = 0.1
_PITCHES = 1 << 20
"""Pitches that are counted at once."""
_STEPS = 100
"""Steps between two bins that tunings are told apart by."""


def peaks(magnitude: NDArray[np.float32], sample_rate: int) -> NDArray[np.float32]:
    """Find the pitches in a block of spectra: peaks above a tenth of their frame's maximum, 150 to 4000 Hz.

    A peak is refined by the parabola through it and its neighbours: J. O. Smith, "Spectral Audio Signal
    Processing", section "Quadratic interpolation of spectral peaks".

    Args:
        magnitude: `[frames, bins]`.
        sample_rate: In Hz.

    Returns:
        `[2, pitches]`: frequencies in Hz, and magnitudes.
    """
    size = 2 * (magnitude.shape[1] - 1)
    frequencies = np.fft.rfftfreq(size, 1 / sample_rate)
    first, stop = np.searchsorted(frequencies, (_LOWEST_HZ, min(_HIGHEST_HZ, sample_rate / 2)))
    floor = _PART_OF_MAXIMUM * magnitude.max(axis=1)
    buffer = np.empty((2, len(magnitude) * (stop - first + 1) // 2 + len(magnitude)), np.float32)
    count = _peaks(magnitude, floor, max(first, 1), stop, sample_rate, size, buffer)
    return buffer[:, :count].copy()


@compiled
def _peaks(
    magnitude: NDArray[np.float32],
    floor: NDArray[np.float32],
    first: int,
    stop: int,
    sample_rate: int,
    size: int,
    buffer: NDArray[np.float32],
) -> int:
    count = 0
    half = np.float32(0.5)
    for t in range(len(magnitude)):
        row = magnitude[t]
        for b in range(first, stop):
            here = row[b]
            if here <= floor[t] or here <= row[b - 1] or here < row[b + 1]:
                continue
            bend = np.float64(np.float32(row[b + 1] + row[b - 1])) - 2.0 * np.float64(here)
            slope = np.float32(row[b + 1] - row[b - 1]) * half
            shift = np.float32(0)
            if abs(slope) < abs(bend):
                shift = np.float32(-np.float64(slope) / bend)
            buffer[0, count] = np.float32((b + np.float64(shift)) * sample_rate / size)
            buffer[1, count] = here + half * slope * shift
            count += 1
    return count


def estimate_tuning(spectral_peaks: NDArray[np.float32], bins_per_octave: int) -> float:
    """Estimate the tuning from pitches: the commonest deviation from the bins of a scale with A4 = 440 Hz.

    The louder half of the pitches has a say, each the same.

    Args:
        spectral_peaks: `[2, pitches]`: frequencies in Hz, and magnitudes.
        bins_per_octave: Bins of the scale.

    Returns:
        The deviation in bins, from -0.5 up to 0.5 in steps of 0.01; 0 when there is no pitch.
    """
    positive = spectral_peaks[0] > 0
    frequency, magnitude = spectral_peaks if positive.all() else spectral_peaks[:, positive]
    if not len(frequency):
        return 0.0
    least = np.median(magnitude)
    edges = np.linspace(-0.5, 0.5, _STEPS + 1)
    counts = np.zeros(_STEPS, np.int64)
    for start in range(0, len(frequency), _PITCHES):
        loud = frequency[start : start + _PITCHES][magnitude[start : start + _PITCHES] >= least]
        deviation = np.mod(bins_per_octave * np.log2(loud / (440.0 / 16)), 1.0)
        deviation[deviation >= 0.5] -= 1.0
        counts += np.histogram(deviation, edges)[0]
    return float(edges[np.argmax(counts)])
