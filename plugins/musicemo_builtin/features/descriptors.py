"""The `descriptors` features."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from musicemo.contracts import Extraction, Output
from musicemo.features import Recipe
from musicemo.features.melchroma import decibels, spectra
from musicemo_builtin.features._descriptors import SIZES, describe

__all__ = ["Descriptors"]


class Descriptors:
    """What a whole clip sounds like, as vectors: the descriptors of the model `multi-kernel`, for any model.

    They are computed from the mel spectrogram and the chromagram of `mel-chroma` with its default parameters, per
    frame:

    - ``statistics``: some 560 numbers that describe the spectrum's shape, modulation, harmonic and percussive parts,
      and the chroma;
    - ``timbre``: the distribution of 20 cepstral coefficients and their slopes over 2, 8 and 32 frames, as the
      logarithm of its covariance matrix with the mean;
    - ``bands``: the same of 32 bands of the mel spectrogram and their slopes over 4 and 16 frames;
    - ``normal``: mean and covariance matrix of 30 cepstral coefficients and their slopes over 10 frames.

    The rows of ``timbre`` share one unit, and so do those of ``bands``: the Euclidean distance of two vectors is the
    log-Euclidean distance of the distributions. ``scaling = { method = "balanced" }`` keeps it.

    V. Arsigny, P. Fillard, X. Pennec, N. Ayache, "Log-Euclidean Metrics for Fast and Simple Calculus on Diffusion
    Tensors", Magnetic Resonance in Medicine, 2006, for the logarithm.

    Raises:
        InputError: From `extract`: the clip is silent, or shorter than a window.
    """

    grid = "track"
    fingerprint = "descriptors 1"
    common_unit = ("timbre", "bands")

    def __init__(self) -> None:
        self._recipe = Recipe()
        self.sample_rate = self._recipe.sample_rate
        self.outputs = dict(SIZES)

    def extract(self, samples: NDArray[np.float32], outputs: Collection[str]) -> Extraction:
        """Describe the clip, as one time step."""
        mel, chroma, beats = spectra(samples, self._recipe)
        described = describe(np.ascontiguousarray(np.concatenate([decibels(mel), chroma]).T))
        edges = np.array([0.0, len(samples) / self.sample_rate])
        return Extraction(
            {name: Output(described[name][None].copy(), edges) for name in outputs},
            beats / self._recipe.frame_rate,
        )
