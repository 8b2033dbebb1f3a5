"""The chromagram: a constant-Q transform folded to pitch classes."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import scipy.fft
import soxr
from numpy.typing import NDArray

from musicemo._jit import compiled
from musicemo.features._recipe import CHROMA
from musicemo.features.melchroma._spectrum import BLOCK, frame_count, frames, hann

__all__ = ["BINS_PER_OCTAVE", "chromagram"]

BINS_PER_OCTAVE = 36
_OCTAVES = 7
_LOWEST_HZ = 440.0 * 2.0 ** ((24 - 69) / 12)
"""C1."""
_RELATIVE_BANDWIDTH = (2.0 ** (2 / BINS_PER_OCTAVE) - 1) / (2.0 ** (2 / BINS_PER_OCTAVE) + 1)
"""A filter's bandwidth over its frequency, the reciprocal of Q."""
_HANN_BANDWIDTH = 1.50018310546875
"""Equivalent noise bandwidth of the Hann window."""
_DISCARDED = 0.01
"""Part of a filter's magnitude, in its smallest bins, that is set to zero."""
_SAMPLES = 1 << 20
"""Samples whose rate is reduced at once."""
_ROWS = 4 * BLOCK
"""Frames that are multiplied by the filters together."""


def chromagram(samples: NDArray[np.float32], sample_rate: int, hop: int, tuning: float) -> NDArray[np.float32]:
    """Compute the constant-Q chromagram of a signal.

    The constant-Q transform has seven octaves from C1 with 36 bins each, shifted by `tuning`; an octave
    is computed at half the rate of the one above, so that all have filters of one length. The magnitudes
    of each pitch class are summed, and each frame divided by its maximum. C. Schoerkhuber and A. Klapuri,
    "Constant-Q transform toolbox for music processing", SMC 2010.

    Args:
        samples: `[samples]`.
        sample_rate: In Hz.
        hop: Samples between frames.
        tuning: In bins.

    Returns:
        `[12, frames]`, from C; a silent frame is zero.
    """
    total = frame_count(len(samples), hop)
    chroma = np.zeros((total, CHROMA), np.float32)
    done = 0
    for halvings, relative in _octaves(sample_rate, hop, tuning):
        if halvings > done:
            samples = _decimate(samples, 2 ** (halvings - done))
            done = halvings
        kernels = _kernels(relative)
        for start in range(0, total, _ROWS):
            stop = min(start + _ROWS, total)
            response = frames(samples, start, stop, len(kernels), hop >> halvings) @ kernels
            _fold(response, chroma[start:stop])
    loudest = chroma.max(axis=1, keepdims=True)
    loudest[loudest < np.finfo(np.float32).tiny] = 1
    return np.ascontiguousarray((chroma / loudest).T)


def _octaves(sample_rate: int, hop: int, tuning: float) -> Iterator[tuple[int, float]]:
    """Yield for each octave, the highest first, how often the rate is halved for it and its lowest frequency.

    The frequency is in cycles a sample at that rate. The rate is halved from octave to octave, as long as
    the hop is even; and before the first one, as far as its filters and the number of octaves allow.
    """
    lowest = _LOWEST_HZ * 2.0 ** (tuning / BINS_PER_OCTAVE)
    highest = lowest * 2.0 ** (_OCTAVES - 1 / BINS_PER_OCTAVE)
    cutoff = highest * (1 + 0.5 * _HANN_BANDWIDTH * _RELATIVE_BANDWIDTH)
    twos = (hop & -hop).bit_length() - 1
    spare = int(np.ceil(np.log2(sample_rate / 2 / cutoff))) - 2
    halvings = max(0, min(spare, twos - _OCTAVES + 1))
    for octave in reversed(range(_OCTAVES)):
        yield halvings, lowest * 2.0**octave / (sample_rate / 2.0**halvings)
        if halvings < twos:
            halvings += 1


def _decimate(samples: NDArray[np.float32], factor: int) -> NDArray[np.float32]:
    """Divide the rate by `factor`, keeping the energy."""
    reduced = np.zeros(-(-len(samples) // factor), np.float32)
    stream = soxr.ResampleStream(factor, 1, 1, dtype="float32", quality="soxr_hq")
    done = 0
    for start in range(0, len(samples), _SAMPLES):
        last = start + _SAMPLES >= len(samples)
        part = stream.resample_chunk(samples[start : start + _SAMPLES], last=last)[: len(reduced) - done]
        reduced[done : done + len(part)] = part
        done += len(part)
    reduced /= np.sqrt(1 / factor)
    return reduced


@lru_cache(maxsize=128)
def _kernels(lowest: float) -> NDArray[np.float32]:
    """Build an octave's filters in time; they depend on where the octave begins, in cycles a sample.

    A filter is a Hann-windowed complex exponential of length Q / frequency whose spectrum is set to zero
    where it is smallest. When each octave has half the rate of the one above, they share one set.

    Returns:
        `[size, 72]`: real parts, then imaginary parts; a frame of `size` samples times this matrix is the
        filters' response.
    """
    frequency = lowest * 2.0 ** (np.arange(BINS_PER_OCTAVE) / BINS_PER_OCTAVE)
    length = 1 / (_RELATIVE_BANDWIDTH * frequency)
    size = 2 ** int(np.ceil(np.log2(length.max())))
    filters = np.zeros((BINS_PER_OCTAVE, size), np.complex64)
    for row, cycles, extent in zip(filters, frequency, length, strict=True):
        place = np.arange(np.floor(-extent / 2), np.floor(extent / 2))
        window = hann.__wrapped__(len(place))
        begin = (size - len(place)) // 2
        row[begin : begin + len(place)] = np.exp(2j * np.pi * cycles * place) * window / window.sum()
    filters *= (length / size)[:, None]
    spectrum = scipy.fft.fft(filters, axis=1)[:, : size // 2 + 1]
    magnitude = np.abs(spectrum)
    ordered = np.sort(magnitude, axis=1)
    below = np.cumsum(ordered / magnitude.sum(axis=1, keepdims=True), axis=1) < _DISCARDED
    least = np.take_along_axis(ordered, below.argmin(axis=1)[:, None], axis=1)
    spectrum[magnitude < least] = 0
    response = scipy.fft.fft(spectrum.astype(np.complex128), n=size, axis=1).T / np.sqrt(length)
    return np.concatenate([response.real, response.imag], axis=1).astype(np.float32)


@compiled
def _fold(response: NDArray[np.float32], chroma: NDArray[np.float32]) -> None:
    """Add an octave's magnitudes to the pitch classes; a class is its bin and those beside it."""
    count = BINS_PER_OCTAVE
    for t in range(len(response)):
        for b in range(count):
            re = np.float64(response[t, b])
            im = np.float64(response[t, count + b])
            chroma[t, (b + 1) // 3 % CHROMA] += np.float32(np.sqrt(re * re + im * im))
