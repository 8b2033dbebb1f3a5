"""A network with the layers of VGG, in plain torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from musicemo_musicnn.layers import Convolution, Dense, Norm, to_tensors

__all__ = ["VGG"]

_POOLING = (((4, 1), (2, 2)), ((2, 2), (2, 2)), ((2, 2), (2, 2)), ((2, 2), (2, 2)), ((4, 4), (4, 4)))
"""Frames and bands of each maximum, and from one maximum to the next."""


class VGG(nn.Module):
    """A convolutional network for music tagging, from log-mel spectrograms to tags, with the outputs of all layers.

    Five convolutions of 3 frames and 3 bands with 128 filters, each rectified, normalized and followed by a maximum
    over neighboring frames and bands (``pool1`` to ``pool5``), and a dense layer that leads from all steps of ``pool5``
    to the probabilities of the ``tags``.

    K. Choi, G. Fazekas, M. Sandler, "Automatic Tagging using Deep Convolutional Neural Networks", ISMIR, 2016, for the
    architecture, and J. Pons, X. Serra, "musicnn: Pre-trained Convolutional Neural Networks for Music Audio Tagging",
    Late-breaking session of ISMIR, 2019, for its sizes and weights.

    Args:
        weights: TensorFlow's variables by name, as in the ``musicnn`` package. Their shapes determine the sizes.
    """

    steps: ClassVar = {"pool1": 2, "pool2": 4, "pool3": 8, "pool4": 16, "pool5": 64}
    """Layer -> frames from one step to the next. The others have one step."""
    frames = range(130, 194)
    """Numbers of frames that a spectrogram can have: those with two steps of ``pool5``, as in training."""

    def __init__(self, weights: Mapping[str, NDArray[np.float32]]) -> None:
        super().__init__()
        tensors = to_tensors(weights)
        self.normalize_input = Norm(tensors, 0)
        self.layers = nn.ModuleList(
            Convolution(tensors, f"{number}CNN", number, bands="same") for number in range(1, 6)
        )
        self.tags = Dense(tensors, "dense")

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Return layer -> values `[batch, steps, rows]`, for log-mel spectrograms `[batch, frames, bands]`.

        The rows of a layer are its filters in the lowest band, then those in the next one, and so on.
        """
        x = self.normalize_input(x[:, None])
        outputs = {}
        for name, layer, (size, stride) in zip(self.steps, self.layers, _POOLING, strict=True):
            x = F.max_pool2d(layer(x), size, stride)
            outputs[name] = x.permute(0, 2, 3, 1).flatten(2)
        return outputs | {"tags": self.tags(outputs["pool5"].flatten(1)).sigmoid()[:, None]}
