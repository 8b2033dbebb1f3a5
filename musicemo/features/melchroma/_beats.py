"""Beats from a percussive signal: onset strength, tempo, and the best path of beats."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from musicemo._jit import compiled
from musicemo.features._recipe import Recipe
from musicemo.features.melchroma._spectrum import (
    BLOCK,
    decibels,
    frame_count,
    hann,
    mel_filters,
    mel_power,
    transform,
)

__all__ = ["OnsetStrength", "estimate_tempo", "synchronise", "track_beats"]

_ONSET_MELS = 128
_COLUMNS = 1 << 14
"""Frames whose rise is computed at once."""
_WINDOW_SECONDS = 8.0
_USUAL_BPM, _HIGHEST_BPM = 120.0, 320.0
_TIGHTNESS = 100.0


def track_beats(envelope: NDArray[np.float32], recipe: Recipe) -> NDArray[np.int64]:
    """Find the beats of a percussive signal.

    D. P. W. Ellis, "Beat tracking by dynamic programming", Journal of New Music Research 36(1), 2007.

    Args:
        envelope: `[frames]`: its onset strength.
        recipe: Its sample rate, hop and window.

    Returns:
        `[beats]`: frames, ascending; none if nothing begins.
    """
    if not envelope.any():
        return np.empty(0, np.int64)
    beats_per_second = estimate_tempo(envelope, recipe) / 60
    period = float(np.round(recipe.frame_rate / beats_per_second))
    normalised = envelope / (envelope.std(ddof=1) + np.finfo(np.float32).tiny)
    score = _smooth(normalised, period)
    total, previous = _best_paths(score, period, _TIGHTNESS)
    beats = []
    beat = _last_beat(total)
    while beat >= 0:
        beats.append(beat)
        beat = int(previous[beat])
    return _without_weak_ends(score, np.array(beats[::-1], np.int64))


class OnsetStrength:
    """How strongly something begins: the median over mel bands of the rise in dB.

    S. Boeck and G. Widmer, "Maximum filter vibrato suppression for onset detection", DAFx 2013, without
    the maximum filter. The envelope is shifted by half a window, as a frame sees what begins at its end.

    Args:
        samples: Samples of the signal, which comes in pieces.
        recipe: Its sample rate, hop and window.
    """

    def __init__(self, samples: int, recipe: Recipe) -> None:
        self._recipe = recipe
        self._total = frame_count(samples, recipe.hop)
        self._filters = mel_filters(recipe.sample_rate, recipe.n_fft, _ONSET_MELS)
        self._power = np.empty((_ONSET_MELS, self._total), np.float32)
        self._pieces: list[NDArray[np.float32]] = []
        self._frames = self._base = self._length = 0

    def add(self, piece: NDArray[np.float32]) -> None:
        """Add the next samples of the signal."""
        self._pieces.append(piece)
        self._length += len(piece)
        size, hop = self._recipe.n_fft, self._recipe.hop
        if (self._frames + BLOCK - 1) * hop - size // 2 + size <= self._length:
            self._transform(BLOCK)

    def _transform(self, least: int) -> None:
        """Transform the frames that are complete, in blocks."""
        size, hop = self._recipe.n_fft, self._recipe.hop
        samples = np.concatenate(self._pieces)
        while self._frames < self._total:
            stop = min(self._frames + BLOCK, self._total)
            if least and (stop - 1) * hop - size // 2 + size > self._length:
                break
            spectrum = transform(samples, self._frames, stop, size, hop, self._base)
            self._power[:, self._frames : stop] = mel_power(spectrum, *self._filters)
            self._frames = stop
        begin = max(self._frames * hop - size // 2, 0)
        self._pieces = [samples[begin - self._base :].copy()]
        self._base = begin

    def finish(self) -> NDArray[np.float32]:
        """Return the envelope, `[frames]`."""
        self._transform(0)
        level = decibels(self._power, reference=1.0, into=self._power)
        strength = np.zeros(self._total, np.float32)
        shift = 1 + self._recipe.n_fft // (2 * self._recipe.hop)
        middle = _ONSET_MELS // 2
        for start in range(0, self._total - shift, _COLUMNS):
            stop = min(start + _COLUMNS, self._total - shift)
            rise = np.maximum(0.0, level[:, start + 1 : stop + 1] - level[:, start:stop])
            rise.partition((middle - 1, middle), axis=0)
            strength[start + shift : stop + shift] = (rise[middle - 1] + rise[middle]) / 2
        return strength


def estimate_tempo(envelope: NDArray[np.float32], recipe: Recipe) -> float:
    """Estimate the tempo in beats per minute from an onset strength envelope, `[frames]`.

    The autocorrelation of 8-second windows around each frame, each divided by its value at lag 0, is
    averaged over the clip, and the lag is chosen where it is largest in the light of a log-normal prior
    around 120 beats per minute. P. Grosche, M. Mueller and F. Kurth, "Cyclic tempogram", ICASSP 2010. As
    averaging and the inverse Fourier transform commute, there is one inverse transform instead of one a frame.
    """
    size = int(_WINDOW_SECONDS * recipe.sample_rate) // recipe.hop
    ramped = np.pad(envelope, size // 2, mode="linear_ramp")
    windows = np.lib.stride_tricks.sliding_window_view(ramped, size)[: len(envelope)]
    length = scipy.fft.next_fast_len(2 * size - 1, real=True)
    power = np.zeros(length // 2 + 1)
    for start in range(0, len(windows), 2 * BLOCK):
        windowed = windows[start : start + 2 * BLOCK] * hann(size)
        energy = np.einsum("ti,ti->t", windowed, windowed)
        spectrum = scipy.fft.rfft(windowed, n=length, axis=1)
        weight = 1 / np.where(energy < np.finfo(np.float64).tiny, 1.0, energy)
        power += weight @ (spectrum.real**2 + spectrum.imag**2)
    correlation = scipy.fft.irfft(power, n=length)[1:size] / len(windows)
    bpm = 60.0 * recipe.frame_rate / np.arange(1, size)
    prior = -0.5 * (np.log2(bpm) - np.log2(_USUAL_BPM)) ** 2
    prior[bpm >= _HIGHEST_BPM] = -np.inf
    return float(bpm[np.argmax(np.log1p(1e6 * np.maximum(correlation, 0)) + prior)])


@compiled
def _smooth(envelope: NDArray[np.float32], period: float) -> NDArray[np.float64]:
    """Convolve an envelope with a Gaussian window whose deviation is a 32nd of the period, `[frames]`."""
    reach = int(period)
    window = np.exp(-0.5 * (np.arange(-reach, reach + 1) * 32.0 / period) ** 2)
    score = np.zeros(len(envelope))
    for i in range(len(envelope)):
        for k in range(max(0, i + reach - len(envelope) + 1), min(i + reach, len(window))):
            score[i] += window[k] * envelope[i + reach - k]
    return score


@compiled
def _best_paths(
    score: NDArray[np.float64], period: float, tightness: float
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Find the best path of beats that ends at each frame, by dynamic programming.

    A path's value is the sum of its beats' scores less `tightness` times the squared logarithm of each
    interval over the period; intervals are half to twice the period.

    Returns:
        Values, `[frames]`, and the frame of the beat before or -1, `[frames]`.
    """
    closest = int(np.round(period / 2))
    farthest = int(2 * period)
    penalty = np.zeros(farthest + 1)
    for lag in range(max(closest, 1), farthest + 1):
        penalty[lag] = tightness * (np.log(lag) - np.log(period)) ** 2
    total = np.empty(len(score))
    previous = np.full(len(score), -1, np.int64)
    threshold = 0.01 * score.max()
    begun = False
    for i in range(len(score)):
        best = -np.inf
        place = -1
        for lag in range(closest, min(farthest, i) + 1):
            value = total[i - lag] - penalty[lag]
            if value > best:
                best = value
                place = i - lag
        total[i] = score[i] + best if place >= 0 else score[i]
        if begun or score[i] >= threshold:
            previous[i] = place
            begun = True
    return total, previous


def _last_beat(total: NDArray[np.float64]) -> int:
    """Find the last local maximum of the paths' values that is at least half of their median."""
    peak = np.zeros(len(total), bool)
    peak[1:-1] = (total[1:-1] > total[:-2]) & (total[1:-1] >= total[2:])
    peak[-1] = total[-1] > total[-2]
    places = np.flatnonzero(peak)
    if not len(places):
        return len(total) - 1
    strong = places[total[places] >= 0.5 * np.median(total[places])]
    return int(strong[-1]) if len(strong) else len(total) - 1


def _without_weak_ends(score: NDArray[np.float64], beats: NDArray[np.int64]) -> NDArray[np.int64]:
    """Drop beats before the first and after the last frame whose score passes half of the beats' RMS."""
    smooth = np.convolve(score[beats], np.hanning(5))[2 : len(score) + 2]
    strong = np.flatnonzero(score > 0.5 * math.sqrt(np.mean(smooth**2)))
    if not len(strong):
        return beats[:0]
    kept: NDArray[np.int64] = beats[(beats >= strong[0]) & (beats <= strong[-1])]
    return kept


def synchronise(features: NDArray[np.float32], beats: NDArray[np.int64]) -> NDArray[np.float32]:
    """Take medians between beats, before the first one and after the last one.

    Args:
        features: `[rows, frames]`.
        beats: `[beats]`: frames, ascending.

    Returns:
        `[rows, segments]`: a segment begins at frame 0 and at each beat; there is at least one.
    """
    total = features.shape[1]
    edges = np.unique(np.concatenate([[0], beats[(beats >= 0) & (beats < total)], [total]]))
    result = np.empty((len(features), len(edges) - 1), features.dtype)
    for segment, (start, stop) in enumerate(pairwise(edges.tolist())):
        ordered = np.sort(features[:, start:stop], axis=1)
        middle = (stop - start) // 2
        if (stop - start) % 2:
            result[:, segment] = ordered[:, middle]
        else:
            result[:, segment] = (ordered[:, middle - 1] + ordered[:, middle]) / 2
    return result
