"""The walk over the spectrogram of a clip: its percussive part, mel spectrogram and pitches."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from musicemo._jit import compiled
from musicemo.features._recipe import Recipe
from musicemo.features.melchroma._median import reflect, running_median
from musicemo.features.melchroma._spectrum import (
    BLOCK,
    OverlapAdd,
    frame_count,
    mel_filters,
    mel_power,
    transform,
)
from musicemo.features.melchroma._tuning import peaks

__all__ = ["CONTEXT", "Parts", "percussive", "separate"]

_SIZE = 31
CONTEXT = _SIZE // 2
"""Frames before and after a frame that its separation depends on."""


def percussive(
    spectrum: NDArray[np.complex64],
    magnitude: NDArray[np.float32],
    base: int,
    start: int,
    stop: int,
    total: int,
) -> NDArray[np.complex64]:
    """Compute the percussive part of frames `start` to `stop` of a clip.

    With the medians H of a bin over 31 frames and P of a frame over 31 bins, the signal mirrored at its
    ends, the part is `P^2 / (P^2 + H^2)` of the spectrum, and half of it where both are zero. D. FitzGerald,
    "Harmonic/percussive separation using median filtering", DAFx 2010.

    Args:
        spectrum: `[frames, bins]`: frame `base` and those after it, at least `CONTEXT` frames around what
            is asked for, or up to the clip's ends.
        magnitude: `[frames, bins]`, its magnitude.
        base: The clip's frame that `spectrum` begins with.
        start: The first frame to compute.
        stop: The frame after the last one.
        total: Frames of the clip.

    Returns:
        `[stop - start, bins]`.
    """
    inside = slice(start - base, stop - base)
    bins = magnitude.shape[1]
    along_time = running_median(magnitude, reflect(start - CONTEXT, stop + CONTEXT, total) - base, _SIZE)
    transposed = np.ascontiguousarray(magnitude[inside].T)
    along_bins = running_median(transposed, reflect(-CONTEXT, bins + CONTEXT, bins), _SIZE)
    result = np.empty((stop - start, bins), np.complex64)
    _mask(
        spectrum[inside].view(np.float32).reshape(-1),
        magnitude[inside].reshape(-1),
        along_time.reshape(-1),
        np.ascontiguousarray(along_bins.T).reshape(-1),
        result.view(np.float32).reshape(-1),
    )
    return result


@compiled
def _mask(
    spectrum: NDArray[np.float32],
    magnitude: NDArray[np.float32],
    harmonic: NDArray[np.float32],
    percussive: NDArray[np.float32],
    result: NDArray[np.float32],
) -> None:
    smallest = np.finfo(np.float32).tiny
    half = np.float32(0.5)
    one = np.float32(1)
    for i in range(len(magnitude)):
        h = harmonic[i]
        p = percussive[i]
        larger = p if p > h else h
        silent = larger < smallest
        scale = one if silent else larger
        p = p / scale
        h = h / scale
        p = p * p
        h = h * h
        share = half if silent else p / (p + h)
        m = magnitude[i]
        part = m * share
        m = one if m == 0 else m
        result[2 * i] = part * (spectrum[2 * i] / m)
        result[2 * i + 1] = part * (spectrum[2 * i + 1] / m)


class Parts(NamedTuple):
    """The results of a walk over a clip's spectrogram.

    Attributes:
        mel: `[mels, frames]`: the mel spectrogram in power.
        pitches: `[2, pitches]`: frequencies in Hz, and magnitudes.
    """

    mel: NDArray[np.float32]
    pitches: NDArray[np.float32]


def separate(
    samples: NDArray[np.float32], recipe: Recipe, percussive_part: Callable[[NDArray[np.float32]], None]
) -> Parts:
    """Compute the spectrogram once, in blocks, and from it all that needs it.

    Args:
        samples: `[samples]`.
        recipe: Its sample rate, hop, window and mel bands.
        percussive_part: Receives the percussive part of the signal, piece by piece.
    """
    size, hop = recipe.n_fft, recipe.hop
    total = frame_count(len(samples), hop)
    filters = mel_filters(recipe.sample_rate, size, recipe.mels)
    mel = np.empty((recipe.mels, total), np.float32)
    pitches = []
    inverse = OverlapAdd(len(samples), size, hop)
    spectrum = np.empty((0, size // 2 + 1), np.complex64)
    magnitude = np.empty(spectrum.shape, np.float32)
    base = done = 0
    for start in range(0, total, BLOCK):
        stop = min(start + BLOCK, total)
        ahead = min(stop + CONTEXT, total)
        if ahead > done:
            further = transform(samples, done, ahead, size, hop)
            loudness = np.abs(further)
            mel[:, done:ahead] = mel_power(further, *filters)
            pitches.append(peaks(loudness, recipe.sample_rate))
            keep = max(start - CONTEXT, 0) - base
            spectrum = np.concatenate([spectrum[keep:], further])
            magnitude = np.concatenate([magnitude[keep:], loudness])
            base, done = base + keep, ahead
        part = percussive(spectrum, magnitude, base, start, stop, total)
        percussive_part(inverse.add(part, last=stop == total))
    return Parts(mel, np.concatenate(pitches, axis=1))
