"""Recordings that sound the same: fingerprints of the mel spectrogram, and the search for pairs of equal ones.

A fingerprint holds 32 bits for each step of 50 ms. Bit `m` of step `n` is whether the difference of the energies of two
adjacent mel bands grows from one window to the next that does not overlap it::

    E[n, m] - E[n, m+1] > E[n-8, m] - E[n-8, m+1]

J. Haitsma, T. Kalker, "A highly robust audio fingerprinting system", ISMIR 2002, with mel bands and longer steps. The
bits do not depend on the level, hardly on lossy encoding, and, as a window is eight steps long, hardly on a shift by a
part of a step. They do depend on speed and pitch.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from musicemo.contracts import Extraction, Output
from musicemo.features._store import FeatureStore
from musicemo.features._stream import FeatureSettings, Stream

__all__ = ["SoundPrint", "find_alike", "sound_prints"]

Prints = NDArray[np.uint32]

_Key = TypeVar("_Key", bound=Hashable)

_RATE, _WINDOW, _STEP, _LAG = 8000, 4096, 400, 8
"""Sample rate in Hz; samples of a window and of a step; steps from a window to the one that it is compared with."""

_BANDS, _LOWEST, _HIGHEST = 33, 300.0, 3000.0
"""Mel bands, and their lowest and highest frequency in Hz: what every encoder keeps."""

_SILENCE = 1e-6
"""A step whose energy is this fraction of the loudest step's, 60 dB below it, has no bits."""

_AT_ONCE = 512
"""Windows that are transformed at once."""

_LEAST = 100
"""Steps that two recordings must have in common, 5 s, and at least half of the shorter one."""

_ALIKE = 0.25
"""Fraction of different bits below which recordings are the same. It is about 0.5 for others, and up to 0.12 for an MP3
of 64 kbit/s.
"""

_MATCHES, _NEIGHBOURS, _SLACK = 2, 3, 2
"""Equal steps at one shift that make two recordings worth comparing; recordings with an equal step to which each is
compared; steps by which the shift may be off."""


class SoundPrint:
    """Computes the fingerprint of a recording; see `musicemo.contracts.FeatureExtractor`."""

    sample_rate = _RATE
    #: The upper and the lower 16 bits, which are exact in float32.
    outputs: Mapping[str, int] = {"bits": 2}
    fingerprint = "1"

    def extract(self, samples: NDArray[np.float32], outputs: Collection[str]) -> Extraction:
        """Return the bits of a recording; one step without bits if it is too short."""
        bits = _bits(_energies(samples))
        values = np.stack([bits >> 16, bits & 0xFFFF], axis=1).astype(np.float32)
        return Extraction({"bits": Output.regular(values, _STEP / _RATE)})


def sound_prints(
    audio: Mapping[_Key, Path], names: Mapping[_Key, str], dataset: str, *, jobs: int | None = None
) -> dict[_Key, Prints]:
    """Return the fingerprints of audio files, `[time]`, those of files that cannot be decoded left out with a warning.

    They are kept in the cache.

    Args:
        audio: The files, by any key.
        names: Their names in messages, by the same keys.
        dataset: Name of the dataset, and of its folder in the cache.
        jobs: Number of processes; by default one per core.

    Raises:
        InputError: None of the files can be decoded.
        RunError: The cache cannot be written.
    """
    if not audio:
        return {}
    settings = FeatureSettings(grid="frame", on_error="skip")
    stream = Stream("sound-print", {}, SoundPrint, settings)
    arrays = FeatureStore(stream, dataset).read(audio, names, jobs=jobs)
    return {key: _joined(array.read()) for key, array in arrays.items()}


def _joined(values: NDArray[np.floating]) -> Prints:
    """Return 32 bits from their upper and lower half."""
    halves = values.astype(np.uint32)
    return (halves[:, 0] << np.uint32(16)) | halves[:, 1]


def find_alike(prints: Sequence[Prints]) -> list[tuple[int, int]]:
    """Return the pairs of recordings that sound the same, up to a shift: the lower index first, in order.

    Recordings are compared if some of their steps are equal at the same shift. These are found by sorting, so that the
    time is almost linear in the number of recordings. Of more than two recordings that sound the same, not every pair
    is returned, but each of them is in a pair that links it to the others.

    Args:
        prints: The fingerprints.
    """
    return [
        (first, second)
        for first, second, shift in _candidates(prints)
        if _difference(prints[first], prints[second], shift) < _ALIKE
    ]


def _energies(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the energies of the mel bands, `[windows, bands]`."""
    from musicemo.features.melchroma import mel_filters

    if len(samples) < _WINDOW:
        return np.zeros((0, _BANDS), np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(samples, _WINDOW)[::_STEP]
    shape = np.hanning(_WINDOW).astype(np.float32)
    filters, _ = mel_filters(_RATE, _WINDOW, _BANDS, _LOWEST, _HIGHEST, htk=True, equal_area=False)
    blocks = [
        np.abs(np.fft.rfft(windows[start : start + _AT_ONCE] * shape, axis=1)).astype(np.float32) ** 2
        @ filters.T
        for start in range(0, len(windows), _AT_ONCE)
    ]
    return np.concatenate(blocks)


def _bits(energies: NDArray[np.float32]) -> Prints:
    """Return the bits of each step, `[time]`, 0 where it is silent; at least one step."""
    if len(energies) <= _LAG:
        return np.zeros(1, np.uint32)
    slopes = energies[:, :-1] - energies[:, 1:]
    grows = slopes[_LAG:] > slopes[:-_LAG]
    bits = np.ascontiguousarray(np.packbits(grows, axis=1)).view(">u4")[:, 0].astype(np.uint32)
    level = energies.sum(axis=1)
    bits[level[_LAG:] <= _SILENCE * level.max()] = 0
    return bits


def _candidates(prints: Sequence[Prints]) -> Iterator[tuple[int, int, int]]:
    """Yield pairs of recordings with several equal steps at one shift, and the shift of the second, in steps."""
    values, owners, times = _steps(prints)
    if not len(values):
        return
    equal_steps = []
    for distance in range(1, _NEIGHBOURS + 1):
        equal = np.flatnonzero(values[distance:] == values[:-distance])
        equal_steps.append(
            np.stack([owners[equal], owners[equal + distance], times[equal + distance] - times[equal]], axis=1)
        )
    pairs = np.concatenate(equal_steps).astype(np.int64)
    if not len(pairs):
        return
    # A shift by a part of a step makes two shifts of one: coarse shifts, counted twice with other borders.
    coarse = np.concatenate([pairs[:, 2] // 4, (pairs[:, 2] + 2) // 4])
    twice = np.concatenate([pairs, pairs])
    order = np.lexsort((twice[:, 2], coarse, twice[:, 1], twice[:, 0]))
    twice, coarse = twice[order], coarse[order]
    same = (np.diff(twice[:, :2], axis=0) == 0).all(axis=1) & (np.diff(coarse) == 0)
    starts = np.flatnonzero(np.concatenate([[True], ~same]))
    counts = np.diff(np.append(starts, len(twice)))
    best: dict[tuple[int, int], tuple[int, int]] = {}
    for start, count in zip(
        starts[counts >= _MATCHES].tolist(), counts[counts >= _MATCHES].tolist(), strict=True
    ):
        first, second, _ = twice[start].tolist()
        shift = int(twice[start + count // 2, 2])  # the median
        best[first, second] = max(best.get((first, second), (0, 0)), (count, shift))
    for (first, second), (_, shift) in sorted(best.items()):
        yield first, second, shift


def _steps(prints: Sequence[Prints]) -> tuple[Prints, NDArray[np.int32], NDArray[np.int32]]:
    """Return half of the steps of all recordings, sorted by their bits: bits, recording and time.

    Their bits decide which half, so that it is the same in recordings that sound the same. Of equal steps of one
    recording, the first is returned.
    """
    values, owners, times = [], [], []
    for index, bits in enumerate(prints):
        distinct, first = np.unique(bits, return_index=True)
        kept = (distinct != 0) & ((distinct * np.uint32(2654435761)) >> np.uint32(31) == 0)
        values.append(distinct[kept])
        times.append(first[kept].astype(np.int32))
        owners.append(np.full(int(kept.sum()), index, np.int32))
    if not values:
        return np.zeros(0, np.uint32), np.zeros(0, np.int32), np.zeros(0, np.int32)
    every = np.concatenate(values)
    order = np.argsort(every, kind="stable")
    return every[order], np.concatenate(owners)[order], np.concatenate(times)[order]


def _difference(first: Prints, second: Prints, shift: int) -> float:
    """Return the fraction of different bits where two recordings overlap; 1 if that is too short.

    Args:
        first: A fingerprint.
        second: A fingerprint.
        shift: Steps by which the music is later in the second; the best shift close to it is taken.
    """
    needed = max(_LEAST, min(len(first), len(second)) // 2)
    lowest = 1.0
    for exact in range(shift - _SLACK, shift + _SLACK + 1):
        a, b = first[max(-exact, 0) :], second[max(exact, 0) :]
        length = min(len(a), len(b))
        a, b = a[:length], b[:length]
        sounding = (a != 0) & (b != 0)
        if (count := int(sounding.sum())) >= needed:
            different = np.unpackbits((a ^ b)[sounding].view(np.uint8)).sum()
            lowest = min(lowest, float(different) / (32 * count))
    return lowest
