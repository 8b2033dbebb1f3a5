"""Mel spectrograms with any frame length, mel scale and frequency range."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from musicemo.errors import InputError
from musicemo.features import frame_count, mel_filters, mel_frequencies, mel_power, transform

__all__ = ["LEAST_POWER", "MelScale", "MelSpectrogram", "Norm", "decibels"]

MelScale = Literal["slaney", "htk"]
Norm = Literal["slaney", "none"]

LEAST_POWER = 1e-10
"""Power that counts as silence, -100 dB."""

_BLOCK = 128
"""Frames that are transformed together."""


class MelSpectrogram:
    """The power in mel bands of Hann-windowed frames.

    Frame t is centered on sample t `hop`, with silence around the clip.

    Args:
        sample_rate: Sample rate, in Hz.
        window: Samples of a frame.
        hop: Samples between frames.
        bands: Number of mel bands.
        fmin: Lowest frequency, in Hz.
        fmax: Highest frequency, in Hz; None is half the sample rate.
        mel_scale: Mel scale.
        norm: "slaney" for filters of equal area, "none" for filters of equal height.

    Raises:
        InputError: The frequencies are not within the spectrum, or a band contains no frequency of the transform.
    """

    def __init__(
        self,
        sample_rate: int,
        window: int,
        hop: int,
        bands: int,
        fmin: float,
        fmax: float | None,
        mel_scale: MelScale,
        norm: Norm,
    ) -> None:
        top = sample_rate / 2
        if fmax is not None and not fmin < fmax <= top:
            raise InputError(
                f"fmax = {fmax:g}: must be above fmin ({fmin:g} Hz) and at most half the sample rate ({top:g} Hz)"
            )
        if fmin >= top:
            raise InputError(f"fmin = {fmin:g}: must be below half the sample rate ({top:g} Hz)")
        self.window, self.hop = window, hop
        #: Center frequencies of the bands in Hz.
        self.centers = tuple(mel_frequencies(sample_rate, bands, fmin, fmax, htk=mel_scale == "htk").tolist())
        self._filters = mel_filters(
            sample_rate, window, bands, fmin, fmax, htk=mel_scale == "htk", equal_area=norm == "slaney"
        )
        empty = int((self._filters[1][:, 1] == 0).sum())
        if empty:
            raise InputError(
                f"bands = {bands}: {empty} of the mel bands contain no frequency of a frame of {window} samples. Use "
                "fewer bands or a longer window"
            )

    def __call__(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the power, `[time, bands]`."""
        count = frame_count(len(samples), self.hop)
        power = np.empty((count, len(self._filters[0])), np.float32)
        for first in range(0, count, _BLOCK):
            stop = min(first + _BLOCK, count)
            spectrum = transform(samples, first, stop, self.window, self.hop)
            power[first:stop] = mel_power(spectrum, *self._filters).T
        return power


def decibels(power: NDArray[np.float32]) -> NDArray[np.float32]:
    """Replace power by 10 log10(max(1e-10, power)), in place, and return it."""
    np.maximum(power, np.float32(LEAST_POWER), out=power)
    np.log10(power, out=power)
    power *= 10
    return power
