"""The network MusiCNN, in plain torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from musicemo_musicnn.layers import Convolution, Dense, Norm, numbered, to_tensors

__all__ = ["MusiCNN"]


class MusiCNN(nn.Module):
    """A convolutional network for music tagging, from log-mel spectrograms to tags, with the outputs of all layers.

    The front end has filters that are musically motivated: ``timbral`` ones, which span 7 frames and 40 or 70 % of the
    bands and are pooled over all positions in frequency, and ``temporal`` ones, which span 32, 64 or 128 frames of one
    band. Three layers of convolutions over time follow (``cnn1`` to ``cnn3``), with residual connections. The outputs
    of front end and layers are concatenated and pooled over time (``mean_pool``, ``max_pool``), and two dense layers
    lead to ``penultimate`` and to the probabilities of the ``tags``.

    J. Pons, X. Serra, "musicnn: Pre-trained Convolutional Neural Networks for Music Audio Tagging", Late-breaking
    session of ISMIR, 2019.

    Args:
        weights: TensorFlow's variables by name, as in the ``musicnn`` package. Their shapes determine the sizes.
    """

    steps: ClassVar = dict.fromkeys(("timbral", "temporal", "cnn1", "cnn2", "cnn3"), 1)
    """Layer -> frames from one step to the next. The others have one step."""
    frames = range(1, 10**6)
    """Numbers of frames that a spectrogram can have."""

    def __init__(self, weights: Mapping[str, NDArray[np.float32]]) -> None:
        super().__init__()
        tensors = to_tensors(weights)
        layers = [Convolution(tensors, numbered("conv2d", number), number + 1) for number in range(8)]
        self.normalize_input = Norm(tensors, 0)
        self.timbral, self.temporal, self.layers = (
            nn.ModuleList(some) for some in (layers[:2], layers[2:5], layers[5:])
        )
        self.normalize_pools, self.normalize_hidden = Norm(tensors, 9), Norm(tensors, 10)
        self.hidden, self.tags = Dense(tensors, "dense"), Dense(tensors, "dense_1")

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Return layer -> values `[batch, steps, rows]`, for log-mel spectrograms `[batch, frames, bands]`."""
        x = self.normalize_input(x[:, None])
        timbral = torch.cat([filters(x).amax(3) for filters in self.timbral], 1)
        temporal = torch.cat([filters(x).amax(3) for filters in self.temporal], 1)
        front = torch.cat([timbral, temporal], 1)
        cnn1 = _over_time(self.layers[0], front)
        cnn2 = _over_time(self.layers[1], cnn1) + cnn1
        cnn3 = _over_time(self.layers[2], cnn2) + cnn2
        features = torch.cat([front, cnn1, cnn2, cnn3], 1)
        mean, maximum = features.mean(2), features.amax(2)
        pools = self.normalize_pools(torch.stack([maximum, mean], 2).flatten(1))  # channel by channel
        penultimate = self.normalize_hidden(self.hidden(pools).relu())
        frames = {"timbral": timbral, "temporal": temporal, "cnn1": cnn1, "cnn2": cnn2, "cnn3": cnn3}
        windows = {
            "mean_pool": mean,
            "max_pool": maximum,
            "penultimate": penultimate,
            "tags": self.tags(penultimate).sigmoid(),
        }
        return {name: values.transpose(1, 2) for name, values in frames.items()} | {
            name: values[:, None] for name, values in windows.items()
        }


def _over_time(convolution: nn.Module, x: Tensor) -> Tensor:
    """Return `[batch, filters, frames]` for `[batch, channels, frames]`: a kernel spans all channels, as if bands."""
    result: Tensor = convolution(x.transpose(1, 2)[:, None])
    return result.squeeze(3)
