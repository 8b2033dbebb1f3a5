"""Statistics of a mel spectrogram in dB, `[bands, time]`."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dct
from scipy.ndimage import median_filter
from scipy.stats import skew

__all__ = ["cepstrum", "level_shares", "modulation_spectrum", "separation", "shape_statistics", "summary"]

Array = NDArray[np.float64]

_WINDOW = 256
_EDGES = np.array([0.1, 0.5, 1.0, 2.0, 4.0, 8.0, 14.0, 21.6]) / 43.07
"""Bands of modulation, in cycles a step: at the frame rate of the original study 0.1 to 21.6 Hz."""


def cepstrum(mel: Array, count: int) -> Array:
    """Return the first cepstral coefficients `[count, time]`: the DCT of the bands, in bels."""
    coefficients: Array = dct(mel, axis=0, norm="ortho")[:count] / 10
    return coefficients


def summary(rows: Array) -> Array:
    """Return mean, deviation, 10th and 90th percentile and deviation of differences of `[rows, time]`."""
    differences = np.diff(rows, axis=1) if rows.shape[1] > 1 else np.zeros_like(rows)
    low, high = np.percentile(rows, [10, 90], axis=1)
    return np.concatenate([rows.mean(1), rows.std(1), low, high, differences.std(1)])


def modulation_spectrum(mel: Array) -> Array:
    """Return how much each of 16 bands changes at each of seven rates: the logarithm of its power.

    Windows of 256 steps overlap by half; a shorter track is one window, filled with zeros.
    """
    power = 10 ** (mel / 10)
    bands = 10 * np.log10(power.reshape(16, 8, -1).mean(1) + 1e-8)
    steps = bands.shape[1]
    starts = range(0, max(steps - _WINDOW, 0) + 1, _WINDOW // 2)
    windows = np.stack([bands[:, start : start + _WINDOW] for start in starts])
    windows = (windows - windows.mean(2, keepdims=True)) * np.hanning(windows.shape[2])
    spectrum = np.abs(np.fft.rfft(windows, _WINDOW, axis=2)) ** 2
    rates = np.fft.rfftfreq(_WINDOW)
    energies = [spectrum[:, :, (rates >= low) & (rates < high)].mean((0, 2)) for low, high in pairwise(_EDGES)]
    return np.log(np.concatenate(energies) + 0.1)


def shape_statistics(mel: Array) -> Array:
    """Return the summary and skewness of what describes the spectrum's shape at each step.

    These are its centroid, spread and flatness, the bands below which half, 85 and 95 % of its power are, its level,
    the distance of its peak from the mean, the contrast of peaks and valleys in eight parts, its slope, and the level
    of the lowest 32 bands.
    """
    bands, steps = mel.shape
    power = 10 ** (mel / 10)
    total = power.sum(0) + 1e-9
    place = np.arange(bands)[:, None]
    centroid = (power * place).sum(0) / total
    spread = np.sqrt((power * (place - centroid) ** 2).sum(0) / total)
    flatness = mel.mean(0) - 10 * np.log10(power.mean(0) + 1e-12)
    below = np.cumsum(power, 0) / total
    rolloff = [(below < share).sum(0) for share in (0.5, 0.85, 0.95)]
    ordered = np.sort(mel.reshape(8, bands // 8, steps), axis=1)
    contrast = ordered[:, -3:].mean(1) - ordered[:, :4].mean(1)
    centred = place[:, 0] - place.mean()
    slope = centred @ mel / (centred @ centred) * (bands / 2)
    lowest = 10 * np.log10(power[:32].reshape(4, 8, steps).mean(1) + 1e-8).max(0)
    level = 10 * np.log10(total)
    rows = np.stack(
        [centroid, spread, flatness, *rolloff, level, mel.max(0) - mel.mean(0), *contrast, slope, lowest]
    )
    return np.concatenate([summary(rows), skewness(rows)])


def skewness(rows: Array) -> Array:
    """Return the skewness over time of `[rows, time]`, within [-5, 5]; 0 of a row that does not change."""
    skewnesses = np.zeros(len(rows))
    varies = rows.std(1) > 1e-6 * np.abs(rows).max(1).clip(min=1)
    skewnesses[varies] = skew(rows[varies], axis=1)
    return skewnesses.clip(-5, 5)


def separation(mel: Array) -> Array:
    """Return statistics of the harmonic and the percussive part, and of single peaks between the bands.

    A median over 31 steps keeps what lasts, one over 17 bands what is broad: the summary of their difference in 16
    parts, and how often it is above 3 and below -3 dB in eight. What a median over 9 bands removes are peaks: the
    logarithm of their deviation and their mean above 0, in 16 parts.

    D. FitzGerald, "Harmonic/Percussive Separation Using Median Filtering", DAFx 2010.
    """
    steps = mel.shape[1]
    apart = median_filter(mel, (1, 31)) - median_filter(mel, (17, 1))
    peaks = (mel - median_filter(mel, (9, 1))).reshape(16, 8, steps)
    halves = apart.reshape(8, 16, steps)
    return np.concatenate(
        [
            summary(apart.reshape(16, 8, steps).mean(1)),
            (halves > 3).mean((1, 2)),
            (halves < -3).mean((1, 2)),
            np.log(peaks.std((1, 2)) + 0.1),
            peaks.clip(min=0).mean((1, 2)),
        ]
    )


def level_shares(mel: Array) -> Array:
    """Return the share of values below -70 and -50 dB and above -30 dB in each of 16 parts of the spectrum."""
    parts = mel.reshape(16, 8, -1)
    return np.concatenate([(parts < -70).mean((1, 2)), (parts < -50).mean((1, 2)), (parts > -30).mean((1, 2))])
