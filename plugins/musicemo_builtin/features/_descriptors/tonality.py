"""Statistics of a chromagram, `[12, time]`, that are the same in every key."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d

__all__ = ["tonal_statistics"]

Array = NDArray[np.float64]

#: C. L. Krumhansl, "Cognitive Foundations of Musical Pitch", 1990: how well each pitch class fits a major, a minor key.
_PROFILES = np.array(
    [
        [6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88],
        [6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17],
    ]
)
#: Semitones above the root: major, minor, diminished, augmented, suspended, dominant and minor seventh.
_CHORDS = ((0, 4, 7), (0, 3, 7), (0, 3, 6), (0, 4, 8), (0, 5, 7), (0, 4, 7, 10), (0, 3, 7, 10))

_BLOCK = 11
"""Steps that intervals and chords are averaged over."""


def tonal_statistics(chroma: Array) -> Array:
    """Return statistics of the key, of intervals and chords, and of how the chroma moves."""
    chroma = chroma.clip(0)  # rounding, or features that were scaled, leave less than nothing
    shares = chroma / (chroma.sum(0) + 1e-9)
    blocks = np.add.reduceat(shares, np.arange(0, shares.shape[1], _BLOCK), axis=1)
    blocks = blocks / (blocks.sum(0) + 1e-9)
    return np.concatenate([_movement(shares), _intervals(blocks), _chords(blocks), _key(shares.mean(1))])


def _movement(shares: Array) -> Array:
    """Magnitudes of the DFT over pitch classes, entropy and flux, of averages over 1, 22 and 86 steps."""
    statistics: list[Array] = []
    for steps in (1, 22, 86):
        mean = shares if steps == 1 else uniform_filter1d(shares, steps, axis=1, mode="nearest")
        magnitudes = np.abs(np.fft.rfft(mean, axis=0))[1:]
        entropy = -(mean * np.log(mean.clip(0) + 1e-9)).sum(0)
        flux = np.abs(np.diff(mean, axis=1)).sum(0) if mean.shape[1] > 1 else np.zeros(1)
        moments = [entropy.mean(), entropy.std(), np.log(flux.mean() + 1e-4), np.log(flux.std() + 1e-4)]
        statistics += [magnitudes.mean(1), magnitudes.std(1), np.array(moments)]
    return np.concatenate([*statistics, np.abs(np.fft.rfft(shares.mean(1)))[1:]])


def _intervals(blocks: Array) -> Array:
    """How much of each interval sounds at once (up to a tritone), and from a block to the one so many later."""
    intervals: list[Array] = []
    for lag in (0, 1, 2, 4, 8, 16):
        lag = min(lag, blocks.shape[1] - 1)
        first, second = blocks[:, : blocks.shape[1] - lag], blocks[:, lag:]
        means = [(first * np.roll(second, -interval, axis=0)).sum(0).mean() for interval in range(12)]
        intervals.append(np.log(np.array(means if intervals else means[:7]) + 1e-3))
    return np.concatenate(intervals)


def _chords(blocks: Array) -> Array:
    """How well the best root of each kind of chord fits, and major against minor."""
    fits = []
    for chord in _CHORDS:
        template = np.zeros(12)
        template[list(chord)] = 1 / len(chord)
        fits.append(np.stack([np.roll(template, root) @ blocks for root in range(12)]).max(0))
    kinds = np.stack(fits)
    major = [(kinds[0] > kinds[1]).mean(), (kinds[0] - kinds[1]).mean()]
    return np.concatenate([kinds.mean(1), kinds.std(1), major])


def _key(mean: Array) -> Array:
    """How well the best major and minor key fit, how clearly, and the chroma from the tonic on and in order."""
    if np.ptp(mean) == 0:
        mean = mean + 1e-9 * np.arange(12)
    fits = np.array(
        [[np.corrcoef(np.roll(profile, tonic), mean)[0, 1] for tonic in range(12)] for profile in _PROFILES]
    )
    ordered = np.sort(fits.ravel())
    major, minor = fits.max(1)
    key_statistics = [major, minor, major - minor, ordered[-1], fits.std(), ordered[-1] - ordered[-3]]
    tonic = int(fits.max(0).argmax())
    return np.concatenate([key_statistics, np.roll(mean, -tonic), np.sort(mean)])
