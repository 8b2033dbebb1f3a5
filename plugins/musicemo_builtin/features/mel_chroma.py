"""The `mel-chroma` features."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from musicemo.contracts import Bands, Extraction, Output
from musicemo.features import Recipe
from musicemo.features.melchroma import spectra

__all__ = ["MelChroma"]


class MelChroma:
    """The features of the original study: a mel spectrogram in dB, and a chromagram.

    ``mel``: power of the mel bands in dB relative to the clip's maximum, from -80 to 0. Time steps are pooled as power,
    before the conversion to dB. ``chroma``: the chromagram of the constant-Q transform from C, from 0 to 1. With their
    defaults, both equal those of librosa's `melspectrogram`, `power_to_db` and `chroma_cqt`. Beats are those of
    librosa's `beat_track` on the percussive part of the signal, separated by medians.

    Args:
        sample_rate: Sample rate in Hz.
        hop: Samples between successive frames.
        n_fft: Length of the analysis window in samples.
        mels: Number of mel bands.

    Raises:
        InputError: The parameters do not fit each other. From `extract`: the clip is silent, or shorter than a window.
    """

    grid = "beat"
    pool = "median"
    fingerprint = "2"

    def __init__(
        self,
        *,
        sample_rate: Annotated[int, Field(gt=0)] = 22050,
        hop: Annotated[int, Field(gt=0)] = 512,
        n_fft: Annotated[int, Field(gt=0)] = 2048,
        mels: Annotated[int, Field(gt=0)] = 128,
    ) -> None:
        self.recipe = Recipe(sample_rate, hop, n_fft, mels)
        self.sample_rate = sample_rate
        self.outputs = {"mel": mels, "chroma": 12}

    @property
    def bands(self) -> dict[str, Bands]:
        """The mel bands in dB, and the pitch classes."""
        from musicemo.features import mel_frequencies  # imports numba

        centers = tuple(mel_frequencies(self.sample_rate, self.recipe.mels).tolist())
        return {"mel": Bands("frequency", centers, decibel=1.0), "chroma": Bands("pitch-class")}

    def extract(self, samples: NDArray[np.float32], outputs: Collection[str]) -> Extraction:
        """Compute the power of the mel bands, the chromagram and the beats."""
        mel, chroma, beats = spectra(samples, self.recipe)
        step = 1 / self.recipe.frame_rate
        arrays = {"mel": Output.regular(mel.T, step), "chroma": Output.regular(chroma.T, step)}
        return Extraction({name: arrays[name] for name in outputs}, beats / self.recipe.frame_rate)

    def finish(self, values: dict[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
        """Convert the power to dB relative to the loudest value."""
        from musicemo.features.melchroma import decibels

        return {name: decibels(array.T).T if name == "mel" else array for name, array in values.items()}
