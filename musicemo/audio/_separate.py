"""One walk over a clip's spectrogram, for all that rests on it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from musicemo.audio._hpss import CONTEXT, percussive
from musicemo.audio._recipe import Recipe
from musicemo.audio._spectrum import BLOCK, OverlapAdd, frame_count, mel_filters, mel_power, transform
from musicemo.audio._tuning import peaks

__all__ = ["Parts", "separate"]


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
