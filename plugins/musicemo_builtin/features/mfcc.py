"""Mel-frequency cepstral coefficients."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated

import numpy as np
import scipy.fft
from numpy.typing import NDArray
from pydantic import Field

from musicemo.contracts import Extraction, Output
from musicemo.errors import InputError
from musicemo_builtin.features._mel import MelScale, MelSpectrogram, Norm, decibels

__all__ = ["MFCC"]

_WIDTH = 9
"""Frames of the fit whose slope is a difference coefficient, as in librosa."""


class MFCC:
    """Mel-frequency cepstral coefficients and their differences over time, with the values of librosa.

        c = DCT-II(10 log10(max(1e-10, p))), orthonormal

    with p the power in mel bands, of which the first `coefficients` are kept. Unlike librosa's default, the level is
    not limited to 80 dB below the loudest value of the clip, so that a part of a song has the values of the song
    (`top_db=None` in librosa). `delta` and `delta-delta` are the first and second derivative of a polynomial that is
    fitted to nine frames, of order 1 and 2.

    Outputs: `mfcc`, `delta` and `delta-delta`, each `[1 + samples // hop, coefficients]`.

    S. B. Davis, P. Mermelstein, "Comparison of Parametric Representations for Monosyllabic Word Recognition in
    Continuously Spoken Sentences", IEEE Transactions on Acoustics, Speech, and Signal Processing, 1980.

    Args:
        sample_rate: Sample rate, in Hz.
        window: Samples of a frame, and length of the Fourier transform.
        hop: Samples between frames.
        bands: Number of mel bands.
        coefficients: Number of coefficients, including the first, which is the mean level.
        fmin: Lowest frequency, in Hz.
        fmax: Highest frequency, in Hz. By default half the sample rate.
        mel_scale: Mel scale: Slaney's, as in librosa, or that of HTK.
        norm: Normalization of the filters: "slaney" for an area of 1, or "none" for a height of 1.

    Raises:
        InputError: There are more coefficients than bands, the frequencies are not within the spectrum, or a mel band
            is narrower than the resolution of the Fourier transform.
    """

    fingerprint = "mfcc 1"

    def __init__(
        self,
        *,
        sample_rate: Annotated[int, Field(gt=0)] = 22050,
        window: Annotated[int, Field(gt=0, multiple_of=2)] = 2048,
        hop: Annotated[int, Field(gt=0)] = 512,
        bands: Annotated[int, Field(gt=0)] = 128,
        coefficients: Annotated[int, Field(gt=0)] = 20,
        fmin: Annotated[float, Field(ge=0)] = 0.0,
        fmax: Annotated[float, Field(gt=0)] | None = None,
        mel_scale: MelScale = "slaney",
        norm: Norm = "slaney",
    ) -> None:
        if coefficients > bands:
            raise InputError(f"coefficients = {coefficients}: must be at most the number of bands ({bands})")
        self.sample_rate = sample_rate
        self.outputs = dict.fromkeys(("mfcc", "delta", "delta-delta"), coefficients)
        self._coefficients = coefficients
        self._spectrogram = MelSpectrogram(sample_rate, window, hop, bands, fmin, fmax, mel_scale, norm)

    def extract(self, samples: NDArray[np.float32], outputs: Collection[str]) -> Extraction:
        """Return the coefficients and the requested differences."""
        level = decibels(self._spectrogram(samples))
        cepstrum = scipy.fft.dct(level, axis=1, norm="ortho", overwrite_x=True)
        mfcc = np.ascontiguousarray(cepstrum[:, : self._coefficients])
        results = {"mfcc": mfcc}
        for order, name in ((1, "delta"), (2, "delta-delta")):
            if name in outputs:
                results[name] = _derivative(mfcc, order)
        step = self._spectrogram.hop / self.sample_rate
        return Extraction({name: Output.regular(results[name], step) for name in outputs})


def _derivative(values: NDArray[np.float32], order: int) -> NDArray[np.float32]:
    """Return the derivative of a local polynomial fit; clips shorter than the fit are continued by their end values."""
    from scipy.signal import savgol_filter  # slow to import

    mode = "interp" if len(values) >= _WIDTH else "nearest"
    derivative: NDArray[np.float64] = savgol_filter(
        values, _WIDTH, polyorder=order, deriv=order, axis=0, mode=mode
    )
    return derivative.astype(np.float32)
