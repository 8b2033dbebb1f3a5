"""From audio to frame-wise and beat-synchronous features."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike

import numpy as np
from numpy.typing import NDArray

from musicemo.audio._decode import load
from musicemo.audio._recipe import Recipe

__all__ = ["Analysis", "analyse", "analyse_signal"]


@dataclass(frozen=True, slots=True, eq=False)
class Analysis:
    """The features of one clip.

    Attributes:
        frame: `[mels + 12, frames]`, float32: mel spectrogram in dB below the clip's maximum, then chromagram.
        beat: `[mels + 12, segments]`, float32: the same, as medians between beats. The segments lie before
            the first beat, between beats and after the last one, so there is at least one.
        beat_frames: `[beats]`, int64: the frames of the beats, ascending.
        recipe: What the features were made with.
    """

    frame: NDArray[np.float32]
    beat: NDArray[np.float32]
    beat_frames: NDArray[np.int64]
    recipe: Recipe


def analyse(path: str | PathLike[str], recipe: Recipe | None = None) -> Analysis:
    """Extract the features of an audio file."""
    recipe = recipe or Recipe()
    return analyse_signal(load(path, recipe), recipe)


def analyse_signal(samples: NDArray[np.float32], recipe: Recipe | None = None) -> Analysis:
    """Extract the features of a signal.

    Args:
        samples: `[samples]`, mono, at the recipe's sample rate.
        recipe: The parameters; its excerpt is not applied.
    """
    import librosa

    recipe = recipe or Recipe()
    rate, hop, n_fft = recipe.sample_rate, recipe.hop, recipe.n_fft
    percussive = librosa.effects.percussive(samples, n_fft=n_fft, hop_length=hop)
    _, beats = librosa.beat.beat_track(y=percussive, sr=rate, hop_length=hop)
    mel = librosa.feature.melspectrogram(y=samples, sr=rate, n_fft=n_fft, hop_length=hop, n_mels=recipe.mels)
    chroma = librosa.feature.chroma_cqt(y=samples, sr=rate, hop_length=hop)
    mel_sync = librosa.util.sync(mel, list(beats), aggregate=np.median)
    chroma_sync = librosa.util.sync(chroma, list(beats), aggregate=np.median)
    frame = np.concatenate([librosa.power_to_db(mel, ref=np.max), chroma])
    beat = np.concatenate([librosa.power_to_db(mel_sync, ref=np.max), chroma_sync])
    return Analysis(frame.astype(np.float32), beat.astype(np.float32), beats.astype(np.int64), recipe)
