"""Feature scaling, fitted on the training set only."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from musicemo.settings import Settings

__all__ = ["Scaling", "ScalingSettings", "fit_scaling"]


class ScalingSettings(Settings):
    """The table ``[scaling]``."""

    method: Literal["standard", "minmax", "none"] = "standard"
    """Scaling method: ``standard`` to mean 0 and standard deviation 1 for each feature row, ``minmax`` to [0, 1],
    or ``none``.
    """


@dataclass(frozen=True)
class Scaling:
    """``(x - offset) / scale`` for every feature row; both `[feature]`, float32."""

    offset: NDArray[np.float32]
    scale: NDArray[np.float32]

    def __call__(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Scale `[time, feature]`."""
        return (features - self.offset) / self.scale


def fit_scaling(method: str, tracks: Iterable[NDArray[np.float32]], size: int) -> Scaling:
    """Fit a scaling to the training set's tracks, each `[time, feature]`, in one pass and float64.

    A constant row is shifted and not scaled.
    """
    if method == "none":
        return Scaling(np.zeros(size, np.float32), np.ones(size, np.float32))
    count = 0
    mean, squares = np.zeros(size), np.zeros(size)
    low, high = np.full(size, np.inf), np.full(size, -np.inf)
    for track in tracks:
        frames = track.astype(np.float64)
        track_mean = frames.mean(axis=0)
        total = count + len(frames)
        # Chan, Golub, LeVeque (1983), "Algorithms for computing the sample variance": merging two samples.
        delta = track_mean - mean
        squares += ((frames - track_mean) ** 2).sum(axis=0) + delta**2 * (count * len(frames) / total)
        mean += delta * (len(frames) / total)
        count = total
        low, high = np.minimum(low, frames.min(axis=0)), np.maximum(high, frames.max(axis=0))
    offset, scale = (mean, np.sqrt(squares / count)) if method == "standard" else (low, high - low)
    constant = scale <= 1e-8 * np.maximum(np.abs(offset), 1)
    return Scaling(offset.astype(np.float32), np.where(constant, 1, scale).astype(np.float32))
