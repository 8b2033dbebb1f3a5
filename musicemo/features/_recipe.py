"""The parameters of feature extraction, and their fingerprint."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from dataclasses import dataclass

from musicemo.errors import InputError

__all__ = ["CHROMA", "Recipe"]

CHROMA = 12
"""Rows of a chromagram: the pitch classes of equal temperament, from C."""

_VERSION = 2
"""Grows whenever the same parameters begin to give other features."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """Parameters of the feature extraction. The defaults are those of the original study.

    Attributes:
        sample_rate: Sample rate of the resampled audio, in Hz.
        hop: Samples between frames.
        n_fft: Number of samples of an analysis window.
        mels: Number of bands of the mel spectrogram.
        offset: Start of the excerpt, in seconds.
        duration: Length of the excerpt in seconds; by default up to the end.

    Raises:
        InputError: Values are out of range; all of them are named at once.
    """

    sample_rate: int = 22050
    hop: int = 512
    n_fft: int = 2048
    mels: int = 128
    offset: float = 0.0
    duration: float | None = None

    def __post_init__(self) -> None:
        positive = ("sample_rate", "hop", "n_fft", "mels")
        problems = [
            f"recipe.{name} is {getattr(self, name)!r}; it must be a whole number above 0"
            for name in positive
            if type(getattr(self, name)) is not int or getattr(self, name) < 1
        ]
        if not problems:
            if self.sample_rate < _LOWEST_RATE:
                problems.append(
                    f"recipe.sample_rate is {self.sample_rate}; the chromagram's seven octaves need at least "
                    f"{_LOWEST_RATE} Hz"
                )
            if self.n_fft % 2:
                problems.append(f"recipe.n_fft is {self.n_fft}; it must be even")
            if 2 * self.hop > self.n_fft:
                problems.append(f"recipe.hop is {self.hop}; it must be at most half of n_fft ({self.n_fft})")
        if not (math.isfinite(self.offset) and self.offset >= 0):
            problems.append(f"recipe.offset is {self.offset!r}; it must be 0 s or more")
        if self.duration is not None and not (math.isfinite(self.duration) and self.duration > 0):
            problems.append(f"recipe.duration is {self.duration!r}; it must be above 0 s, or None")
        if problems:
            raise InputError(*problems)

    @property
    def rows(self) -> int:
        """Number of rows of a feature array: the mel bands and the pitch classes."""
        return self.mels + CHROMA

    @property
    def frame_rate(self) -> float:
        """Frames per second."""
        return self.sample_rate / self.hop

    @property
    def whole(self) -> Recipe:
        """The recipe for the whole song, without an excerpt."""
        return dataclasses.replace(self, offset=0.0, duration=None)

    @property
    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits, equal for equal recipes on every machine and in every process."""
        values = {
            "version": _VERSION,
            **{k: float(v) if k in _REAL and v is not None else v for k, v in dataclasses.asdict(self).items()},
        }
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


_REAL = ("offset", "duration")
_LOWEST_RATE = 9000
