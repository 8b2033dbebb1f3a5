"""Medians between beats, and decibels."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

__all__ = ["decibels", "synchronise"]

_LEAST_POWER = 1e-10
_RANGE = 80.0


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
