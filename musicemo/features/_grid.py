"""Time grids: the steps of a clip's features, and how an extractor's outputs are pooled onto them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from musicemo.contracts import Output

__all__ = ["Grid", "Pooler", "Pooling", "grid_edges", "pooled_rows"]

Grid = Literal["frame", "beat", "segment", "track"]
Pooling = Literal["mean", "median", "max", "min", "std", "mean-std"]


def grid_edges(
    grid: Grid, seconds: float, *, segment: float = 3.0, beats: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """Return `[steps + 1]`, the edges of a clip's time steps in seconds.

    - ``beat``: a step from the start of the clip, and one from every beat; the last one ends with the clip.
    - ``segment``: steps of `segment` seconds. The last one ends with the clip, and has at least half of `segment` and
      less than one and a half, unless the clip is shorter.
    - ``track``: one step.

    Args:
        grid: The grid; "frame" has the edges of the extractor's own steps.
        seconds: Duration of the clip.
        segment: Length of a segment in seconds.
        beats: `[beats]`, in seconds, ascending; required for "beat".
    """
    if grid == "beat":
        assert beats is not None
        inside = beats[(beats > 0) & (beats < seconds)]
        return np.unique(np.concatenate([[0.0], inside, [seconds]]))
    if grid == "segment":
        # Streams of several sample rates round a clip's duration in different ways.
        steps = max(1, int(np.floor(seconds / segment + 0.499)))
        return np.append(np.arange(steps) * segment, max(seconds, (steps - 0.5) * segment))
    assert grid == "track"
    return np.array([0.0, seconds])


def pooled_rows(rows: int, pooling: Pooling) -> int:
    """Return how many rows an output of `rows` rows has after pooling."""
    return 2 * rows if pooling == "mean-std" else rows


class Pooler:
    """Pools an output onto the steps of a grid, from blocks of the output in the order of time.

    A grid step pools the output's steps whose middles it contains. Where it contains none, because the output's steps
    are longer, it has the step that covers its middle. Between blocks, only statistics are kept; the median keeps all
    steps.

    Args:
        edges: `[steps + 1]`, in seconds, ascending.
        pooling: The statistic. "std" is that of the population; "mean-std" is the mean followed by it.
    """

    def __init__(self, edges: NDArray[np.float64], pooling: Pooling) -> None:
        self._edges, self._pooling = edges, pooling
        self._middles = (edges[:-1] + edges[1:]) / 2
        self._parts: list[list[_Part]] = [[] for _ in self._middles]
        self._covering: list[NDArray[np.float32] | None] = [None] * len(self._middles)

    def add(self, block: Output) -> None:
        """Add the next steps of the output."""
        middles = (block.edges[:-1] + block.edges[1:]) / 2
        bounds = np.searchsorted(middles, self._edges - _TOLERANCE)
        # The first and the last steps may lie beyond the grid, whose end is that of the samples.
        if self._edges[0] >= block.edges[0] - _TOLERANCE:
            bounds[0] = 0
        bounds[-1] = len(middles)
        for step in np.flatnonzero(bounds[1:] > bounds[:-1]):
            values = block.values[bounds[step] : bounds[step + 1]]
            parts = self._parts[step]
            parts.append(_Part.of(values, keep=self._pooling == "median"))
            if len(parts) > 1 and self._pooling != "median":
                parts[:] = [parts[0].merged(parts[1])]
        inside = (self._middles >= block.edges[0]) & (self._middles < block.edges[-1] + _TOLERANCE)
        for step in np.flatnonzero(inside & (bounds[1:] <= bounds[:-1])):
            place = np.searchsorted(block.edges, self._middles[step], side="right") - 1
            self._covering[step] = block.values[min(place, len(middles) - 1)]
        self._last = block.values[-1]

    def result(self) -> NDArray[np.float32]:
        """Return `[steps, rows]`, or `[steps, 2 * rows]` for "mean-std"."""
        rows = []
        for parts, covering in zip(self._parts, self._covering, strict=True):
            if parts:
                rows.append(_STATISTICS[self._pooling](parts))
            else:
                rows.append(
                    _STATISTICS[self._pooling]([_Part.of((self._last if covering is None else covering)[None])])
                )
        return np.stack(rows).astype(np.float32, copy=False)


@dataclass(frozen=True, slots=True)
class _Part:
    """Statistics of some steps of an output, each `[rows]`."""

    count: int
    mean: NDArray[np.float64]
    squares: NDArray[np.float64]
    highest: NDArray[np.float32]
    lowest: NDArray[np.float32]
    #: `[count, rows]`, for the median.
    values: NDArray[np.float32] | None

    @classmethod
    def of(cls, values: NDArray[np.float32], *, keep: bool = True) -> _Part:
        """Return the statistics of `[count, rows]`."""
        mean = values.mean(axis=0, dtype=np.float64)
        squares = np.square(values - mean).sum(axis=0)
        return cls(len(values), mean, squares, values.max(axis=0), values.min(axis=0), values if keep else None)

    def merged(self, other: _Part) -> _Part:
        """Return the statistics of both, by the pairwise formula of Chan, Golub and LeVeque (1979)."""
        count = self.count + other.count
        apart = other.mean - self.mean
        return _Part(
            count,
            self.mean + apart * (other.count / count),
            self.squares + other.squares + np.square(apart) * (self.count * other.count / count),
            np.maximum(self.highest, other.highest),
            np.minimum(self.lowest, other.lowest),
            None,
        )


def _deviation(part: _Part) -> NDArray[np.float64]:
    deviation: NDArray[np.float64] = np.sqrt(part.squares / part.count)
    return deviation


def _median(parts: list[_Part]) -> NDArray[np.float32]:
    ordered = np.sort(np.concatenate([part.values for part in parts if part.values is not None]), axis=0)
    middle = len(ordered) // 2
    median: NDArray[np.float32] = (
        ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
    )
    return median


_STATISTICS: dict[Pooling, Callable[[list[_Part]], NDArray[np.floating]]] = {
    "mean": lambda parts: parts[0].mean,
    "median": _median,
    "max": lambda parts: parts[0].highest,
    "min": lambda parts: parts[0].lowest,
    "std": lambda parts: _deviation(parts[0]),
    "mean-std": lambda parts: np.concatenate([parts[0].mean, _deviation(parts[0])]),
}
"""Pooling -> the statistic `[rows]`, or `[2 * rows]`, of the parts of a grid step: one, but for the median."""

_TOLERANCE = 1e-6
"""Seconds by which the middle of a step may lie before an edge and still count as on it."""
