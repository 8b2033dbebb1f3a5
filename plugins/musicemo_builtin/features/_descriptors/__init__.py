"""What a whole track sounds like, as a few vectors; computed once a track in a process."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from musicemo_builtin.features._descriptors.covariance import log_euclidean, normal, with_slopes
from musicemo_builtin.features._descriptors.spectrum import (
    cepstrum,
    level_shares,
    modulation_spectrum,
    separation,
    shape_statistics,
)
from musicemo_builtin.features._descriptors.tonality import tonal_statistics

__all__ = ["DESCRIPTORS", "MELS", "PITCH_CLASSES", "SIZES", "describe"]

MELS, PITCH_CLASSES = 128, 12

#: Name -> size of the vector.
SIZES = {"statistics": 563, "timbre": 3321, "bands": 4753, "normal": 3660}
DESCRIPTORS = tuple(SIZES)

_KEPT = 4096
"""Tracks whose descriptors are kept, each some 50 kB."""

_memory: OrderedDict[bytes, Mapping[str, NDArray[np.float32]]] = OrderedDict()


def describe(features: NDArray[np.float32]) -> Mapping[str, NDArray[np.float32]]:
    """Return the descriptors of a track, each a vector.

    - ``statistics``: of the spectrum's shape, modulation, harmonic and percussive parts, levels, and of the chroma.
    - ``timbre``: the distribution of 20 cepstral coefficients and their slopes over 2, 8 and 32 steps, as
      `log_euclidean` has it.
    - ``bands``: the same of 32 bands of the mel spectrogram and their slopes over 4 and 16 steps.
    - ``normal``: mean and covariance of 30 cepstral coefficients and their slopes over 10 steps.

    Equal features have been described before, as in another fold or epoch: that is remembered.

    Args:
        features: `[time, 140]`: a mel spectrogram in dB, and a chromagram.
    """
    key = hashlib.blake2b(features.tobytes(), digest_size=16).digest()
    descriptors = _memory.pop(key, None)
    if descriptors is None:
        descriptors = {name: value.astype(np.float32) for name, value in _describe(features).items()}
    _memory[key] = descriptors
    while len(_memory) > _KEPT:
        _memory.popitem(last=False)
    return descriptors


def _describe(features: NDArray[np.float32]) -> dict[str, NDArray[np.float64]]:
    mel = np.ascontiguousarray(features[:, :MELS].T, dtype=np.float64)
    chroma = np.ascontiguousarray(features[:, MELS:].T, dtype=np.float64)
    coefficients = cepstrum(mel, 30)
    bands = mel.reshape(32, 4, -1).mean(1) / 10
    statistics = [
        modulation_spectrum(mel),
        shape_statistics(mel),
        separation(mel),
        level_shares(mel),
        tonal_statistics(chroma),
    ]
    return {
        "statistics": np.nan_to_num(np.concatenate(statistics)),
        "timbre": log_euclidean(with_slopes(coefficients[:20], (1, 4, 16))),
        "bands": log_euclidean(with_slopes(bands, (2, 8), smooth=3)),
        "normal": normal(with_slopes(coefficients, (5,), smoothed=False)),
    }
