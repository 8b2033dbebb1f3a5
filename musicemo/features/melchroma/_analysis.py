"""Features of a clip, by frame and by beat."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike, fspath

import numpy as np
from numpy.typing import ArrayLike, NDArray

from musicemo.errors import InputError
from musicemo.features._decode import check_level, load
from musicemo.features._recipe import Recipe
from musicemo.workers import one_thread

__all__ = ["Analysis", "analyse", "analyse_signal", "decibels", "find_beats", "spectra"]

_LOUDEST = 1e9
"""Samples beyond this would overflow when squared."""


@dataclass(frozen=True, slots=True, eq=False)
class Analysis:
    """Features of one clip.

    Attributes:
        frame: `[mels + 12, frames]`, float32: the mel spectrogram in dB, from -80 to 0 at the clip's maximum, and the
            chromagram from C, from 0 to 1.
        beat: `[mels + 12, segments]`, float32: the same for medians over segments, which begin at the start of the clip
            and at each beat; there is at least one.
        beat_frames: `[beats]`, int64: the frames of the beats, ascending.
        recipe: Recipe of the features.
    """

    frame: NDArray[np.float32]
    beat: NDArray[np.float32]
    beat_frames: NDArray[np.int64]
    recipe: Recipe


def analyse(path: str | PathLike[str], recipe: Recipe | None = None) -> Analysis:
    """Extract the features of an audio file.

    Args:
        path: File in a format of libsndfile (wav, flac, ogg, mp3 and others), or of an installed ffmpeg.
        recipe: The parameters; by default those of the original study.

    Raises:
        InputError: The file is missing, is not audio, or is truncated, or its excerpt is silent, too short or
            not finite; the message begins with the path.
    """
    recipe = recipe or Recipe()
    return _analyse(load(path, recipe), recipe, fspath(path))


def analyse_signal(samples: ArrayLike, recipe: Recipe | None = None) -> Analysis:
    """Extract the features of a signal.

    Args:
        samples: `[samples]`, mono, at the recipe's sample rate.
        recipe: The parameters, by default those of the original study; its excerpt is not applied.

    Raises:
        InputError: The signal is silent, too short or not finite, or has more than one channel.
    """
    return _analyse(np.ascontiguousarray(samples, np.float32), recipe or Recipe(), "the signal")


def _analyse(samples: NDArray[np.float32], recipe: Recipe, name: str) -> Analysis:
    mel, chroma, beats = spectra(samples, recipe, name)

    from musicemo.features.melchroma import _spectrum
    from musicemo.features.melchroma._beats import synchronise

    beat = np.concatenate([decibels(synchronise(mel, beats)), synchronise(chroma, beats)])
    frame = np.empty((len(mel) + len(chroma), mel.shape[1]), np.float32)
    _spectrum.decibels(mel, into=frame[: len(mel)])
    frame[len(mel) :] = chroma
    return Analysis(frame=frame, beat=beat, beat_frames=beats, recipe=recipe)


def decibels(power: NDArray[np.float32]) -> NDArray[np.float32]:
    """Convert power to dB relative to its maximum, at least -80.

    Args:
        power: `[rows, columns]`; below 1e-10 it counts as 1e-10.
    """
    from musicemo.features.melchroma import _spectrum

    return _spectrum.decibels(power)


def spectra(
    samples: NDArray[np.float32], recipe: Recipe, name: str = "the signal"
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]:
    """Compute the mel spectrogram and the chromagram of a signal, and its beats.

    Args:
        samples: `[samples]`, mono, at the recipe's sample rate.
        recipe: The parameters; its excerpt is not applied.
        name: The signal in messages.

    Returns:
        The power `[mels, frames]`, the chromagram `[12, frames]` and the frames of the beats `[beats]`.

    Raises:
        InputError: See `analyse_signal`.
    """
    _check(samples, recipe, name)
    # These compile loops and import scipy, which importing this package should not.
    from musicemo.features.melchroma._beats import OnsetStrength, track_beats
    from musicemo.features.melchroma._chroma import BINS_PER_OCTAVE, chromagram
    from musicemo.features.melchroma._hpss import separate
    from musicemo.features.melchroma._tuning import estimate_tuning

    with one_thread():  # so that the same features come out of any number of cores
        onsets = OnsetStrength(len(samples), recipe)
        parts = separate(samples, recipe, onsets.add)
        beats = track_beats(onsets.finish(), recipe)
        del onsets
        tuning = estimate_tuning(parts.pitches, BINS_PER_OCTAVE)
        mel = parts.mel
        del parts
        return mel, chromagram(samples, recipe.sample_rate, recipe.hop, tuning), beats


def find_beats(samples: NDArray[np.float32], recipe: Recipe | None = None) -> NDArray[np.float64]:
    """Find the beats of a signal.

    Args:
        samples: `[samples]`, mono, at the recipe's sample rate.
        recipe: The parameters, by default those of the original study; its excerpt is not applied.

    Returns:
        `[beats]`: times in seconds, ascending; none if the signal is shorter than a window, or nothing begins.
    """
    from musicemo.features.melchroma._beats import OnsetStrength, track_beats
    from musicemo.features.melchroma._hpss import separate

    recipe = recipe or Recipe()
    if len(samples) < recipe.n_fft:
        return np.empty(0)
    with one_thread():
        onsets = OnsetStrength(len(samples), recipe)
        separate(samples, recipe, onsets.add)
        beats = track_beats(onsets.finish(), recipe)
    times: NDArray[np.float64] = beats / recipe.frame_rate
    return times


def _check(samples: NDArray[np.float32], recipe: Recipe, name: str) -> None:
    if samples.ndim != 1:
        raise InputError(f"{name} has shape {list(samples.shape)}; one channel, [samples], is needed")
    if len(samples) < recipe.n_fft:
        raise InputError(
            f"{name} is too short: {len(samples)} samples, {len(samples) / recipe.sample_rate:.3f} s; "
            f"at least {recipe.n_fft} samples, {recipe.n_fft / recipe.sample_rate:.3f} s, are needed"
        )
    peak = max(float(samples.max()), -float(samples.min()))
    if not np.isfinite(peak):
        raise InputError(f"{name} has samples that are not finite")
    if peak > _LOUDEST:
        raise InputError(f"{name} has a sample of {peak:g}; samples lie between -1 and 1 as a rule")
    check_level(name, float(samples.min()), float(samples.max()))
