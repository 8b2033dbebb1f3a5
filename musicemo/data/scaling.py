"""Feature scaling, fitted on the training set only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from musicemo.settings import Settings

__all__ = ["Scaling", "ScalingSettings", "fit_scaling"]


class ScalingSettings(Settings):
    """The table ``[scaling]``."""

    method: Literal["standard", "minmax", "balanced", "none"] = "standard"
    """Scaling method: ``standard`` to mean 0 and standard deviation 1 for each feature row, ``minmax`` to [0, 1],
    ``balanced`` to mean 0 and a total variance of 1 for each output of the extractors, or ``none``. With ``balanced``,
    the rows of an output have the same variance, or keep their proportions if the extractor declares that they share a
    unit.
    """


@dataclass(frozen=True)
class Scaling:
    """``(x - offset) / scale`` for every feature row; both `[feature]`, float32."""

    offset: NDArray[np.float32]
    scale: NDArray[np.float32]

    def __call__(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Scale `[time, feature]`."""
        return (features - self.offset) / self.scale


def fit_scaling(
    method: str,
    tracks: Iterable[NDArray[np.float32]],
    size: int,
    outputs: Sequence[tuple[slice, bool]] | None = None,
) -> Scaling:
    """Fit a scaling to the training set's tracks, in one pass and float64.

    A constant row is shifted and not scaled; with ``balanced``, it is scaled like the others of its
    output.

    Args:
        method: method of `ScalingSettings`.
        tracks: the features of each track, `[time, feature]`.
        size: number of feature rows.
        outputs: the rows of each output, and whether they share a unit; by default all rows are one output whose rows
            do not. Only ``balanced`` depends on them.
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
    offset, scale = (low, high - low) if method == "minmax" else (mean, np.sqrt(squares / count))
    constant = scale <= 1e-8 * np.maximum(np.abs(offset), 1)
    scale = np.where(constant, 1, scale)
    if method == "balanced":
        for rows, common_unit in outputs or [(slice(0, size), False)]:
            varying = rows.start + np.flatnonzero(~constant[rows])
            if common_unit and len(varying):
                scale[rows] = np.sqrt(np.mean(scale[varying] ** 2))
            scale[rows] *= np.sqrt(max(len(varying), 1))
    return Scaling(offset.astype(np.float32), scale.astype(np.float32))
