"""Compare changed features with the features of changed audio: `python docs/figures/augmentation_audio.py`.

Prints the correlation of all values of log mel spectrograms with those of the audio that librosa changes, for the
features that an augmentation changes and for the unchanged features. Means over six clips.
"""

from __future__ import annotations

import math
import warnings
from typing import Any

import librosa
import numpy as np
import torch
from musicemo_builtin.augmentations.pitch_shift import PitchShift
from musicemo_builtin.augmentations.time_stretch import TimeStretch
from musicemo_builtin.datasets.synth import Synth
from musicemo_builtin.features.log_mel import LogMel
from numpy.typing import NDArray

from musicemo.contracts import Examples, FeatureRows, Labels

EXTRACTOR = LogMel()
BANDS = EXTRACTOR.outputs["mel"]
ROWS = FeatureRows(
    BANDS,
    {"log-mel": slice(0, BANDS)},
    [(slice(0, BANDS), EXTRACTOR.bands["mel"])],
    {"log-mel": "frame"},
    np.zeros(BANDS, np.float32),
    np.ones(BANDS, np.float32),
)


class Fixed:
    """Draws the same number always."""

    def __init__(self, value: float) -> None:
        self.value = value

    def integers(self, low: int, high: int, size: int) -> NDArray[np.int64]:
        """Return the number."""
        return np.full(size, int(self.value))

    def uniform(self, low: float, high: float, size: int) -> NDArray[np.float64]:
        """Return the number."""
        return np.full(size, self.value)


def spectrogram(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the features of a clip."""
    mel = EXTRACTOR.extract(samples.astype(np.float32), ["mel"]).outputs["mel"].values
    return EXTRACTOR.finish({"mel": mel})["mel"]


def changed(augmentation: Any, value: float, features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the features that an augmentation changes."""
    examples = Examples(
        torch.from_numpy(features)[None], torch.tensor([len(features)]), [Labels(1.0, torch.arange(1))]
    )
    return augmentation(examples, Fixed(value)).x[0].numpy()


def correlation(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    """Return the correlation of all values at the frames that both have."""
    frames = min(len(first), len(second))
    return float(np.corrcoef(first[:frames].ravel(), second[:frames].ravel())[0, 1])


def main() -> None:
    """Print the table."""
    warnings.filterwarnings("ignore")
    pitch, speed = PitchShift(rows=ROWS), TimeStretch(rows=ROWS)
    results: dict[str, list[tuple[float, float]]] = {}
    for track in Synth(tracks=6, duration=6.0).tracks():
        samples, rate = track.audio.samples()
        features = spectrogram(samples)
        for steps in (-2, 2):
            true = spectrogram(librosa.effects.pitch_shift(samples, sr=rate, n_steps=steps))
            pair = correlation(changed(pitch, steps, features), true), correlation(features, true)
            results.setdefault(f"pitch-shift by {steps} semitones", []).append(pair)
        for factor in (0.8, 1.25):
            true = spectrogram(librosa.effects.time_stretch(samples, rate=factor))
            stretched = changed(speed, math.log(factor), features)
            pair = correlation(stretched, true), correlation(features, true)
            results.setdefault(f"time-stretch to {factor} of the speed", []).append(pair)
    for name, pairs in results.items():
        augmented, unchanged = np.mean(pairs, axis=0)
        print(f"{name}: {augmented:.2f}, unchanged {unchanged:.2f}")


if __name__ == "__main__":
    main()
