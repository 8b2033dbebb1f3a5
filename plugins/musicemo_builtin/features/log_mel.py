"""Log mel spectrograms."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from musicemo.contracts import Bands, Extraction, Output
from musicemo_builtin.features._mel import MelScale, MelSpectrogram, Norm, decibels

__all__ = ["LogMel"]


class LogMel:
    """A mel spectrogram on a logarithmic scale, with the values of librosa.

    The power p of the Hann-windowed Fourier transform in triangular mel bands, on one of the scales

        db     10 log10(max(1e-10, p) / r), at most `top_db` below the loudest value of the clip
        log    ln(p + offset)
        log1p  log10(1 + gain p)
        power  p
        pcen   (p' (eps + m)^-strength + bias)^power - bias^power,  p' = gain p
               m[t] = (1 - a) m[t-1] + a p'[t],  m[-1] = 1

    with r -> `reference`. "pcen" is per-channel energy normalization: an automatic gain control in each band, which
    divides the power by its recent average m and so reduces constant sounds, the level of the recording and its
    equalization. The coefficient a of the filter corresponds to `time_constant`: a = (sqrt(1 + 4 n^2) - 1) / (2 n^2)
    with n = `time_constant` `sample_rate` / `hop`. ``power = 0`` is ln(1 + p' (eps + m)^-strength).

    What is relative to the loudest value is computed after pooling onto the time grid. Frame t
    is centered on sample t `hop`, with silence around the clip, as in librosa with ``center=True``.

    Output: `mel` `[1 + samples // hop, bands]`.

    Y. Wang, P. Getreuer, T. Hughes, R. F. Lyon, R. A. Saurous, "Trainable Frontend for Robust and Far-Field Keyword
    Spotting", ICASSP 2017. Deviation: the factor `gain`, with which the default of `eps` is the power that
    "db" takes as silence, 1e-10. The documentation of librosa uses 2^31.

    Args:
        sample_rate: Sample rate, in Hz.
        window: Samples of a frame, and length of the Fourier transform.
        hop: Samples between frames.
        bands: Number of mel bands.
        fmin: Lowest frequency, in Hz.
        fmax: Highest frequency, in Hz. By default half the sample rate.
        mel_scale: Mel scale: Slaney's, as in librosa, or that of HTK, as in torchaudio.
        norm: Normalization of the filters: "slaney" for an area of 1, as in librosa, or "none" for a height of 1, as in
            torchaudio.
        scale: Scale of the values: "db" as in `librosa.power_to_db`, "log" as for many convolutional networks, "log1p"
            as for MusiCNN and Essentia's models, "power", or "pcen" as in `librosa.pcen`.
        reference: Power of 0 dB, for "db"; "max" is the loudest value of the clip.
        top_db: Range below the loudest value of the clip, for "db". 0 does not limit the range.
        offset: Offset of the power, for "log".
        gain: Factor of the power, for "log1p" and "pcen".
        strength: Exponent of the average power, for "pcen" (`gain` of librosa). 0 does not normalize, 1 removes the
            level.
        bias: Offset of the normalized power, for "pcen".
        power: Exponent of the normalized power, for "pcen".
        time_constant: Time constant of the average, in seconds, for "pcen".
        eps: Offset of the average, for "pcen".

    Raises:
        InputError: The frequencies are not within the spectrum, or a mel band is narrower than the resolution of the
            Fourier transform.
    """

    fingerprint = "log-mel 1"

    def __init__(
        self,
        *,
        sample_rate: Annotated[int, Field(gt=0)] = 22050,
        window: Annotated[int, Field(gt=0, multiple_of=2)] = 2048,
        hop: Annotated[int, Field(gt=0)] = 512,
        bands: Annotated[int, Field(gt=0)] = 128,
        fmin: Annotated[float, Field(ge=0)] = 0.0,
        fmax: Annotated[float, Field(gt=0)] | None = None,
        mel_scale: MelScale = "slaney",
        norm: Norm = "slaney",
        scale: Literal["db", "log", "log1p", "power", "pcen"] = "db",
        reference: Literal["max"] | Annotated[float, Field(gt=0)] = "max",
        top_db: Annotated[float, Field(ge=0)] = 80.0,
        offset: Annotated[float, Field(gt=0)] = 1e-5,
        gain: Annotated[float, Field(gt=0)] = 10000.0,
        strength: Annotated[float, Field(ge=0)] = 0.98,
        bias: Annotated[float, Field(ge=0)] = 2.0,
        power: Annotated[float, Field(ge=0)] = 0.5,
        time_constant: Annotated[float, Field(gt=0)] = 0.4,
        eps: Annotated[float, Field(gt=0)] = 1e-6,
    ) -> None:
        self.sample_rate = sample_rate
        self.outputs = {"mel": bands}
        decibel = {"db": 1.0, "log": math.log(10) / 10}.get(scale)
        self._spectrogram = MelSpectrogram(sample_rate, window, hop, bands, fmin, fmax, mel_scale, norm)
        self.bands = {"mel": Bands("frequency", self._spectrogram.centers, decibel)}
        self._scale, self._reference, self._top = scale, reference, top_db
        self._offset, self._gain = np.float32(offset), np.float32(gain)
        self._frames = time_constant * sample_rate / hop
        self._strength, self._bias, self._power, self._eps = strength, bias, power, eps

    def extract(self, samples: NDArray[np.float32], outputs: Collection[str]) -> Extraction:
        """Return the spectrogram."""
        values = self._spectrogram(samples)
        if self._scale == "db":
            decibels(values)
            if self._reference != "max":
                values -= np.float32(10 * np.log10(self._reference))
        elif self._scale == "log":
            values += self._offset
            np.log(values, out=values)
        elif self._scale == "log1p":
            values *= self._gain
            values += 1
            np.log10(values, out=values)
        elif self._scale == "pcen":
            values *= self._gain
            values = self._normalize(values)
        return Extraction({"mel": Output.regular(values, self._spectrogram.hop / self.sample_rate)})

    def _normalize(self, power: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the per-channel energy normalization of `[time, bands]`."""
        from scipy.signal import lfilter  # slow to import

        weight = (math.sqrt(1 + 4 * self._frames**2) - 1) / (2 * self._frames**2)
        state = np.full((1, power.shape[1]), 1 - weight)
        average, _ = lfilter([weight], [1, weight - 1], power.astype(np.float64), axis=0, zi=state)
        relative = power * np.exp(-self._strength * np.log(self._eps + average))
        if self._power == 0:
            values = np.log1p(relative)
        elif self._bias == 0:
            values = relative**self._power
        else:  # expm1 is exact for a small relative power
            values = self._bias**self._power * np.expm1(self._power * np.log1p(relative / self._bias))
        normalized: NDArray[np.float32] = values.astype(np.float32)
        return normalized

    def finish(self, values: dict[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
        """Make decibels relative to the loudest value, and limit their range."""
        if self._scale != "db" or "mel" not in values:
            return values
        level = values["mel"]
        if self._reference == "max":
            level = level - level.max()
        if self._top:
            level = np.maximum(level, level.max() - np.float32(self._top))
        return {**values, "mel": level}
