"""Acoustic descriptors of openSMILE."""

from __future__ import annotations

from collections.abc import Collection
from importlib.metadata import version
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from musicemo.contracts import Extraction, Output
from musicemo.errors import InputError

__all__ = ["OpenSmile"]

_LEVELS = {"functionals": "func", "lld": "lld", "deltas": "lld_de"}
"""Value of `level` -> name in openSMILE."""

_SHORTEST = 0.2
"""Seconds that every feature set can analyze; shorter clips are followed by silence."""

_BLOCK, _CONTEXT = 60.0, 2.0
"""Seconds of low-level descriptors that are computed together, and seconds around them that are analyzed too."""

_LOUDEST = 1 - 2**-15
"""Largest sample; openSMILE reads 16-bit samples, of which +1 is none."""


class OpenSmile:
    """Acoustic descriptors of openSMILE: eGeMAPS, ComParE and other feature sets.

    Low-level descriptors, such as loudness, pitch and spectral slope, are computed every 10 ms. Functionals are their
    statistics, such as means and percentiles, over the whole clip or over windows. The attribute `names` has the names
    of the rows.

    Windows start every `hop` seconds. The last ones end with the clip, so that each has `window` seconds of audio,
    unless the clip is shorter. Clips of less than 0.2 s are followed by silence. Low-level descriptors of clips longer
    than a minute are computed in blocks of one minute with two seconds around them, so that memory does not grow. They
    are those of one pass, apart from jitter and shimmer, which openSMILE computes from the position of the last period.
    Functionals of a whole clip need memory for its low-level descriptors.

    Output: `functionals` `[1, rows]`, or `[clip // hop, rows]` with windows; or `lld` or `deltas` `[time, rows]`.

    F. Eyben, M. Wöllmer, B. Schuller, "openSMILE: The Munich Versatile and Fast Open-Source Audio Feature Extractor",
    ACM Multimedia, 2010; F. Eyben and others, "The Geneva Minimalistic Acoustic Parameter Set (GeMAPS) for Voice
    Research and Affective Computing", IEEE Transactions on Affective Computing, 2016.

    The license of openSMILE allows private, research and educational use, but not commercial products.

    Args:
        feature_set: Feature set: eGeMAPSv02 has 88 functionals and 25 low-level descriptors, ComParE_2016 has 6373 and
            65.
        level: "functionals" for statistics, "lld" for low-level descriptors, or "deltas" for their differences over
            time, which the GeMAPS sets do not have.
        window: Length of the windows of functionals, in seconds. By default the whole clip.
        hop: Time between windows, in seconds. By default `window`.
        sample_rate: Sample rate, in Hz.

    Raises:
        InputError: The package opensmile is not installed, the feature set does not have the level, or windows are set
            for low-level descriptors.
    """

    def __init__(
        self,
        *,
        feature_set: Literal[
            "eGeMAPSv02", "GeMAPSv01b", "ComParE_2016", "emobase", "IS09", "IS10", "IS11", "IS12", "IS13"
        ] = "eGeMAPSv02",
        level: Literal["functionals", "lld", "deltas"] = "functionals",
        window: Annotated[float, Field(ge=_SHORTEST)] | None = None,
        hop: Annotated[float, Field(gt=0)] | None = None,
        sample_rate: Annotated[int, Field(ge=8000)] = 22050,
    ) -> None:
        try:
            import opensmile
        except ImportError as error:
            raise InputError(
                f"the package opensmile is needed ({error}). Try pip install 'musicemo[opensmile]'"
            ) from error
        if level != "functionals" and not (window is None and hop is None):
            raise InputError(f'window and hop are for level = "functionals", not {level!r}')
        if hop is not None and (window is None or hop > window):
            raise InputError(f"hop = {hop:g}: needs a window that is at least as long")
        try:
            self._smile: Any = opensmile.Smile(
                feature_set=opensmile.FeatureSet[feature_set],
                feature_level=opensmile.FeatureLevel(_LEVELS[level]),
                loglevel=0,
            )
        except ValueError as error:
            raise InputError(f"level = {level!r}: the feature set {feature_set} does not have it") from error
        self.sample_rate = sample_rate
        self.names = {level: tuple(self._smile.feature_names)}
        self.outputs = {level: len(self.names[level])}
        self.grid = "track" if level == "functionals" and window is None else "frame"
        self.fingerprint = f"opensmile 1, package {version('opensmile')}"
        self._level = level
        self._window = None if window is None else round(window * sample_rate)
        self._hop = self._window if hop is None else max(1, round(hop * sample_rate))

    def extract(self, samples: NDArray[np.float32], outputs: Collection[str]) -> Extraction:
        """Return the descriptors."""
        if self._level != "functionals":
            output = self._descriptors(samples)
        elif self._window is None or self._hop is None:
            duration = len(samples) / self.sample_rate
            output = Output(self._analyze(samples)[1], np.array([0.0, duration]))
        else:
            output = self._windows(samples, self._window, self._hop)
        return Extraction({self._level: output})

    def _windows(self, samples: NDArray[np.float32], window: int, hop: int) -> Output:
        """Return the functionals of windows; the edges of a step are the `hop` seconds from the start of its window."""
        begins = range(0, len(samples), hop)
        last = max(0, len(samples) - window)
        values = [self._analyze(samples[min(begin, last) :][:window])[1] for begin in begins]
        edges = np.array([*begins, len(samples)]) / self.sample_rate
        return Output(np.concatenate(values), edges)

    def _descriptors(self, samples: NDArray[np.float32]) -> Output:
        """Return low-level descriptors, computed block by block."""
        rate = self.sample_rate
        start, step, values = self._frames(samples[: round((_BLOCK + _CONTEXT) * rate)])
        if len(samples) > (_BLOCK + _CONTEXT) * rate:
            block, context = round(_BLOCK * rate / step), round(_CONTEXT * rate / step)  # in frames
            parts = [values[: block - start]]
            for first in range(block, -(-len(samples) // step), block):
                part = samples[(first - context) * step : (first + block + context) * step]
                values = self._frames(part)[2][context - start :]
                last = (first + block + context) * step >= len(samples)
                parts.append(values if last else values[:block])
                if last:
                    break
            values = np.concatenate(parts)
        return Output(values, (start + np.arange(len(values) + 1)) * step / rate)

    def _frames(self, samples: NDArray[np.float32]) -> tuple[int, int, NDArray[np.float32]]:
        """Return the number of the first frame, the samples between frames, and the values, `[time, rows]`.

        The times of the last frames, with which filters end, are repeated by openSMILE, so they are not used.
        """
        times, values = self._analyze(samples)
        step = round((times[1] - times[0]) * self.sample_rate)
        return round(times[0] * self.sample_rate / step), step, values

    def _analyze(self, samples: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        """Return the start times of the frames in seconds, `[time]`, and their values, `[time, rows]`."""
        shortest = round(_SHORTEST * self.sample_rate)
        if len(samples) < shortest:
            samples = np.pad(samples, (0, shortest - len(samples)))
        starts, _, values = self._smile.process(np.clip(samples, -1, _LOUDEST), self.sample_rate)
        return np.asarray(starts.total_seconds(), np.float64), np.asarray(values, np.float32)
