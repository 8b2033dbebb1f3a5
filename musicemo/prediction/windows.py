"""Windows of a song for its prediction."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from musicemo.errors import InputError

__all__ = ["cut_by_columns", "cut_by_seconds"]

Windows = NDArray[np.int64]


def cut_by_columns(columns: int, length: int) -> Windows:
    """Return `[windows, 2]`, first and past-the-last column: windows of `length` columns that overlap by half.

    The last window ends with the song. A song that is shorter than a window is one window.
    """
    last = max(columns - length, 0)
    starts = np.unique([*range(0, last, max(length // 2, 1)), last])
    return np.stack([starts, np.minimum(starts + length, columns)], axis=1)


def cut_by_seconds(edges: NDArray[np.float64], window: float, hop: float) -> Windows:
    """Return `[windows, 2]`, first and past-the-last column, for windows of a given duration.

    A window has every column that it overlaps. The last window ends with the song.

    Args:
        edges: `[columns + 1]`, in seconds.
        window: length in seconds.
        hop: seconds from the start of a window to the start of the next.

    Raises:
        InputError: there are more than a million windows.
    """
    last = max(edges[-1] - window, 0.0)
    if last / hop > _MOST:
        raise InputError(f"--hop {hop:g}: the song has more than {_MOST:,} windows. Choose a longer hop")
    begins = np.append(np.arange(0.0, last, hop), last)
    starts = np.searchsorted(edges, begins + _TOLERANCE, side="right") - 1
    stops = np.searchsorted(edges, begins + window - _TOLERANCE, side="left")
    starts = np.clip(starts, 0, len(edges) - 2)
    return np.unique(np.stack([starts, np.clip(stops, starts + 1, len(edges) - 1)], axis=1), axis=0)


_MOST = 1_000_000
"""Windows of a song; each is predicted."""

_TOLERANCE = 1e-6
"""Seconds by which a column may be touched without being covered."""
