"""An extractor's ONNX graph with pooling: from the samples of a clip to the input of a network."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from musicemo.features import Stream

__all__ = ["Noise", "Pooling", "obstacle"]

_POOLINGS = ("mean", "std", "mean-std")
_TOLERANCE = 1e-6  # that of musicemo.features for the middles of steps


def obstacle(streams: list[Stream]) -> str:
    """Return why a graph cannot begin with audio, or an empty string."""
    if len(streams) != 1:
        return f"the run has {len(streams)} streams of features; one is supported"
    (stream,) = streams
    if not hasattr(stream.extractor, "graph"):
        return f"{stream.type!r} is not an ONNX model"
    if hasattr(stream.extractor, "finish"):
        return f"{stream.type!r} changes the features after pooling"
    if stream.grid == "beat":
        return 'the features have grid = "beat", and a graph does not track beats'
    if stream.grid != "frame" and stream.pool not in _POOLINGS:
        return f"the features have pool = {stream.pool!r} (supported: {', '.join(_POOLINGS)})"
    return ""


class Pooling(nn.Module):
    """The input of a network from the values and the edges of a stream's outputs, as `musicemo.features` pools them.

    Args:
        stream: The stream.
        rows: The features that the network reads, of those of the stream.
    """

    def __init__(self, stream: Stream, rows: slice) -> None:
        super().__init__()
        self.rows = rows
        self.grid, self.pool, self.segment = stream.grid, stream.pool, stream.settings.segment

    def forward(self, *arrays: Tensor) -> tuple[Tensor, Tensor]:
        """Return the features `[1, time, feature]`, and their length `[1]`.

        Args:
            arrays: For each output the values `[time, rows]` and the edges `[time + 1]` in seconds.
        """
        outputs = list(zip(arrays[::2], arrays[1::2], strict=True))
        if self.grid == "frame":
            pooled = [values for values, _ in outputs]
        else:
            seconds = outputs[0][1][-1]
            if self.grid == "segment":
                steps = torch.floor(seconds / self.segment + 0.499).clamp(min=1)
                starts = torch.arange(steps).double() * self.segment  # type: ignore[call-overload]  # a traced size
                end = torch.maximum(seconds, (steps - 0.5) * self.segment)
            else:
                starts, end = torch.zeros(1, dtype=torch.float64), seconds
            grid = torch.cat([starts, end[None]])
            pooled = [self._pooled(values.double(), edges, grid) for values, edges in outputs]
        features = torch.cat(pooled, 1).float()[:, self.rows]
        return features[None], torch.ones_like(features[:, 0], dtype=torch.int64).sum()[None]

    def _pooled(self, values: Tensor, edges: Tensor, grid: Tensor) -> Tensor:
        middles = (edges[:-1] + edges[1:]) / 2
        step = (grid[None, 1:-1] - _TOLERANCE <= middles[:, None]).sum(1)
        places = torch.arange(grid.shape[0] - 1)
        members = (step[None] == places[:, None]).double()
        counts = members.sum(1, keepdim=True)
        means = members @ values / counts.clamp(min=1)
        # A grid step without the middle of a step has the step that covers its own middle.
        centers = (grid[:-1] + grid[1:]) / 2
        covering = ((edges[None] <= centers[:, None]).sum(1) - 1).clamp(min=0, max=values.shape[0] - 1)
        empty = counts == 0
        means = torch.where(empty, values[covering], means)
        if self.pool == "mean":
            return means
        squares = (values - means[step]).square()
        deviations = (members @ squares / counts.clamp(min=1)).sqrt()
        return deviations if self.pool == "std" else torch.cat([means, deviations], 1)


class Noise:
    """Noise with a changing level, for the comparison of a graph with the extractor; see `musicemo.contracts.Signal`.

    Args:
        seconds: Duration.
        rate: Sample rate in Hz.
    """

    def __init__(self, seconds: float, rate: int) -> None:
        self.identity = f"noise of {seconds} seconds"
        self._seconds, self._rate = seconds, rate

    def samples(self) -> tuple[NDArray[np.float32], int]:
        """Return the samples and their rate."""
        count = max(round(self._seconds * self._rate), 1)
        level = 0.05 + 0.2 * np.abs(np.sin(np.arange(count) * (2 / self._rate)))
        noise: NDArray[Any] = np.random.default_rng(0).standard_normal(count) * level
        return noise.clip(-1, 1).astype(np.float32), self._rate
