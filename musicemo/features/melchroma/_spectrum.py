"""The short-time Fourier transform, its inverse, and mel spectrograms, block by block."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from musicemo._jit import compiled

__all__ = [
    "BLOCK",
    "OverlapAdd",
    "decibels",
    "frame_count",
    "frames",
    "hann",
    "mel_filters",
    "mel_frequencies",
    "mel_power",
    "transform",
]

BLOCK = 128
"""Frames that are worked on together: enough to vectorise, few enough to stay in the cache."""

_LINEAR_HZ, _LINEAR_STEP = 1000.0, 200.0 / 3
"""Slaney's mel scale is linear up to 1000 Hz, 3 mel to 200 Hz, and logarithmic above."""
_LOG_STEP = np.log(6.4) / 27

_LEAST_POWER = 1e-10
_RANGE = 80.0
"""Decibels below the loudest value at which a level is cut off."""


def frame_count(size: int, hop: int) -> int:
    """Return how many frames a signal of `size` samples has."""
    return 1 + size // hop


@lru_cache
def hann(size: int) -> NDArray[np.float64]:
    """Return the periodic Hann window, `[size]`."""
    angle = np.linspace(-np.pi, np.pi, size + 1)[:-1]
    return np.asarray(0.5 + 0.5 * np.cos(angle))


def frames(
    samples: NDArray[np.float32], first: int, stop: int, size: int, hop: int, base: int = 0
) -> NDArray[np.float32]:
    """View frames `first` to `stop` of a signal with silence around it; frame t is centred on sample t hop.

    Args:
        samples: `[samples]`: the signal from sample `base` on, up to what the frames need or to its end.
        first: The first frame.
        stop: The frame after the last one.
        size: Samples of a frame.
        hop: Samples between frames.
        base: The sample of the signal that `samples` begins with.

    Returns:
        `[stop - first, size]`, a view of `samples` or of a copy of the part that the frames need.
    """
    begin = first * hop - size // 2
    end = (stop - 1) * hop - size // 2 + size
    part = samples[max(begin, 0) - base : max(end - base, 0)]
    if begin < 0 or end > base + len(samples):
        before = min(max(-begin, 0), end - begin)
        part = np.pad(part, (before, end - begin - before - len(part)))
    return np.lib.stride_tricks.sliding_window_view(part, size)[::hop]


def transform(
    samples: NDArray[np.float32], first: int, stop: int, size: int, hop: int, base: int = 0
) -> NDArray[np.complex64]:
    """Compute frames `first` to `stop` of the Hann-windowed Fourier transform, `[stop - first, size / 2 + 1]`.

    The transform runs in double precision and its result is rounded once. See `frames` for the arguments.
    """
    windowed = frames(samples, first, stop, size, hop, base) * hann(size)
    spectrum: NDArray[np.complex128] = scipy.fft.rfft(windowed, axis=1, overwrite_x=True)
    return spectrum.astype(np.complex64)


class OverlapAdd:
    """The inverse transform: frames are given in order, and the samples that they complete come out.

    Args:
        samples: Samples of the signal.
        size: Samples of a frame.
        hop: Samples between frames.
    """

    def __init__(self, samples: int, size: int, hop: int) -> None:
        self._left = samples
        self._size = size
        self._hop = hop
        self._frames = 0
        self._sum = np.zeros(0, np.float32)
        self._base = 0

    def add(self, spectrum: NDArray[np.complex64], *, last: bool) -> NDArray[np.float32]:
        """Add the next frames, `[frames, size / 2 + 1]`, and return the samples that no later frame changes."""
        blocks = scipy.fft.irfft(spectrum, n=self._size, axis=1)
        offset = self._size // 2
        reach = (self._frames + len(blocks) - 1) * self._hop - offset + self._size - self._base
        length = self._left if last else min(max(reach, len(self._sum)), self._left)
        total = np.zeros(length, np.float32)
        total[: len(self._sum)] = self._sum
        _overlap_add(total, blocks, hann(self._size), self._frames * self._hop - offset - self._base, self._hop)
        self._frames += len(blocks)
        complete = length if last else min(max(self._frames * self._hop - offset - self._base, 0), length)
        done = total[:complete]
        _divide_by_windows(done, hann(self._size) ** 2, self._base + offset, self._frames, self._hop)
        self._sum = total[complete:].copy()
        self._base += complete
        self._left -= complete
        return done


@compiled
def _overlap_add(
    signal: NDArray[np.float32],
    blocks: NDArray[np.float32],
    window: NDArray[np.float64],
    begin: int,
    hop: int,
) -> None:
    size = len(window)
    for t in range(len(blocks)):
        start = begin + t * hop
        block = blocks[t]
        for k in range(max(0, -start), min(size, len(signal) - start)):
            signal[start + k] = np.float32(signal[start + k] + window[k] * block[k])


@compiled
def _divide_by_windows(
    signal: NDArray[np.float32], squares: NDArray[np.float64], offset: int, frames: int, hop: int
) -> None:
    size = len(squares)
    smallest = np.finfo(np.float32).tiny
    gains = np.zeros(hop, np.float32)
    repeats = False
    for block in range(offset // hop, (offset + len(signal) - 1) // hop + 1):
        # Away from the ends all blocks of `hop` samples are covered alike.
        inside = block * hop >= size and block < frames
        if not (inside and repeats):
            for k in range(hop):
                place = block * hop + k
                gains[k] = 0
                for t in range(max(0, (place - size) // hop + 1), min(frames, block + 1)):
                    gains[k] = np.float32(gains[k] + squares[place - t * hop])
        repeats = inside
        begin = block * hop - offset
        for k in range(max(0, -begin), min(hop, len(signal) - begin)):
            if gains[k] > smallest:
                signal[begin + k] /= gains[k]


@lru_cache
def mel_filters(
    sample_rate: int,
    size: int,
    mels: int,
    low: float = 0.0,
    high: float | None = None,
    *,
    htk: bool = False,
    equal_area: bool = True,
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Build triangular filters that are evenly spaced on a mel scale.

    Filter m rises from mel point m to m + 1 and falls to m + 2. Slaney's scale and the area are those of M. Slaney,
    "Auditory Toolbox", Interval Research Technical Report 1998-010. The scale of HTK is 2595 log10(1 + f / 700).

    Args:
        sample_rate: Sample rate of the signal, in Hz.
        size: Samples of a frame.
        mels: Number of filters.
        low: Lowest frequency, in Hz.
        high: Highest frequency, in Hz; None is half the sample rate.
        htk: Whether to use the mel scale of HTK instead of Slaney's.
        equal_area: Whether the area of each filter is 1 in Hz; otherwise its maximum is 1.

    Returns:
        The filters, `[mels, size / 2 + 1]`, and the bins that each one covers, `[mels, 2]`.
    """
    points = _mel_points(sample_rate, mels, low, high, htk)
    bins = np.fft.rfftfreq(size, 1 / sample_rate)
    low_, centre, high_ = points[:-2, None], points[1:-1, None], points[2:, None]
    triangles = np.maximum(0, np.minimum((bins - low_) / (centre - low_), (high_ - bins) / (high_ - centre)))
    filters = (triangles * (2.0 / (high_ - low_)) if equal_area else triangles).astype(np.float32)
    inside = filters > 0
    covered = np.stack([inside.argmax(axis=1), len(bins) - inside[:, ::-1].argmax(axis=1)], axis=1)
    covered[~inside.any(axis=1)] = 0
    return filters, covered


def mel_frequencies(
    sample_rate: int, mels: int, low: float = 0.0, high: float | None = None, *, htk: bool = False
) -> NDArray[np.float64]:
    """Return `[mels]`: the frequencies in Hz at which the filters of `mel_filters` are largest."""
    return _mel_points(sample_rate, mels, low, high, htk)[1:-1]


def _mel_points(sample_rate: int, mels: int, low: float, high: float | None, htk: bool) -> NDArray[np.float64]:
    to_mel, to_hertz = (_to_htk, _from_htk) if htk else (_to_slaney, _from_slaney)
    top = sample_rate / 2 if high is None else high
    return np.asarray(to_hertz(np.linspace(to_mel(low), to_mel(top), mels + 2)))


def _to_slaney(hertz: float) -> float:
    if hertz < _LINEAR_HZ:
        return hertz / _LINEAR_STEP
    return float(_LINEAR_HZ / _LINEAR_STEP + np.log(hertz / _LINEAR_HZ) / _LOG_STEP)


def _from_slaney(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    linear = _LINEAR_HZ / _LINEAR_STEP
    return np.where(mel < linear, mel * _LINEAR_STEP, _LINEAR_HZ * np.exp(_LOG_STEP * (mel - linear)))


def _to_htk(hertz: float) -> float:
    return float(2595 * np.log10(1 + hertz / 700))


def _from_htk(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(700 * (10 ** (mel / 2595) - 1))


def mel_power(
    spectrum: NDArray[np.complex64], filters: NDArray[np.float32], covered: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Compute the mel spectrogram, in power, of a block of frames.

    Args:
        spectrum: `[frames, bins]`.
        filters: `[mels, bins]`, see `mel_filters`.
        covered: `[mels, 2]`: the bins that each filter covers.

    Returns:
        `[mels, frames]`.
    """
    transposed = np.ascontiguousarray(spectrum.T)
    result = np.zeros((len(filters), len(spectrum)), np.float32)
    _project(transposed.view(np.float32).reshape(*transposed.shape, 2), filters, covered, result)
    return result


@compiled
def _project(
    spectrum: NDArray[np.float32],
    filters: NDArray[np.float32],
    covered: NDArray[np.int64],
    result: NDArray[np.float32],
) -> None:
    bins, count, _ = spectrum.shape
    power = np.empty((bins, count), np.float32)
    for b in range(bins):
        for t in range(count):
            re = spectrum[b, t, 0]
            im = spectrum[b, t, 1]
            power[b, t] = re * re + im * im
    for m in range(len(filters)):
        for b in range(covered[m, 0], covered[m, 1]):
            weight = filters[m, b]
            for t in range(count):
                result[m, t] += weight * power[b, t]


def decibels(
    power: NDArray[np.float32], reference: float | None = None, into: NDArray[np.float32] | None = None
) -> NDArray[np.float32]:
    """Convert power to dB, `10 log10(power / reference)`, at most 80 dB below the loudest value.

    Args:
        power: `[rows, columns]`; below 1e-10 it counts as 1e-10.
        reference: The power of 0 dB; None is the maximum of `power`.
        into: Array of the result, which may be `power` itself.
    """
    level = np.empty_like(power) if into is None else into
    for row, result in zip(power, level, strict=True):
        np.log10(np.maximum(_LEAST_POWER, row), out=result)
        result *= 10.0
    loudest = level.max()
    level -= loudest if reference is None else 10.0 * np.log10(max(_LEAST_POWER, reference))
    np.maximum(level, level.max() - _RANGE, out=level)
    return level
