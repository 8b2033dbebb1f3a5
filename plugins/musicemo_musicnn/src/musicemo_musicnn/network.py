"""The network MusiCNN, in plain torch."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

__all__ = ["MusiCNN"]

_EPSILON = 1e-3
"""TensorFlow's default, which the weights were trained with."""


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

    def __init__(self, weights: Mapping[str, NDArray[np.float32]]) -> None:
        super().__init__()
        tensors = {name: torch.from_numpy(np.array(values)) for name, values in weights.items()}
        self.normalize_input = _Norm(tensors, 0)
        self.timbral = nn.ModuleList(_Convolution(tensors, number) for number in range(2))
        self.temporal = nn.ModuleList(_Convolution(tensors, number) for number in range(2, 5))
        self.layers = nn.ModuleList(_Convolution(tensors, number) for number in range(5, 8))
        self.normalize_pools, self.normalize_hidden = _Norm(tensors, 9), _Norm(tensors, 10)
        self.hidden, self.tags = _Dense(tensors, "dense"), _Dense(tensors, "dense_1")

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Return layer -> values, for log-mel spectrograms `[batch, frames, bands]`.

        Returns:
            ``timbral``, ``temporal`` and ``cnn1`` to ``cnn3`` are `[batch, frames, channels]`, the others
            `[batch, channels]`.
        """
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
        return {name: values.transpose(1, 2) for name, values in frames.items()} | {
            "mean_pool": mean,
            "max_pool": maximum,
            "penultimate": penultimate,
            "tags": self.tags(penultimate).sigmoid(),
        }


def _over_time(convolution: nn.Module, x: Tensor) -> Tensor:
    """Return `[batch, filters, frames]` for `[batch, channels, frames]`: a kernel spans all channels, as if bands."""
    result: Tensor = convolution(x.transpose(1, 2)[:, None])
    return result.squeeze(3)


class _Convolution(nn.Module):
    """A convolution with as many frames as before, rectified, then normalized: `[batch, filters, frames, places]`."""

    kernel: Tensor
    bias: Tensor

    def __init__(self, tensors: Mapping[str, Tensor], number: int) -> None:
        super().__init__()
        name = _numbered("conv2d", number)
        self.register_buffer("kernel", tensors[f"{name}/kernel"].permute(3, 2, 0, 1).contiguous())
        self.register_buffer("bias", tensors[f"{name}/bias"])
        self.norm = _Norm(tensors, number + 1)

    def forward(self, x: Tensor) -> Tensor:
        more = self.kernel.shape[2] - 1  # an even kernel reaches further to what follows, as in TensorFlow
        x = F.pad(x, (0, 0, more // 2, more - more // 2))
        result: Tensor = self.norm(F.conv2d(x, self.kernel, self.bias).relu_())
        return result


class _Norm(nn.Module):
    """A batch normalization with the statistics of the training, along the second dimension."""

    scale: Tensor
    shift: Tensor

    def __init__(self, tensors: Mapping[str, Tensor], number: int) -> None:
        super().__init__()
        name = _numbered("batch_normalization", number)
        scale = tensors[f"{name}/gamma"] / (tensors[f"{name}/moving_variance"] + _EPSILON).sqrt()
        self.register_buffer("scale", scale)
        self.register_buffer("shift", tensors[f"{name}/beta"] - tensors[f"{name}/moving_mean"] * scale)

    def forward(self, x: Tensor) -> Tensor:
        shape = (-1, *(1,) * (x.ndim - 2))
        return torch.addcmul(self.shift.view(shape), x, self.scale.view(shape))


class _Dense(nn.Module):
    kernel: Tensor
    bias: Tensor

    def __init__(self, tensors: Mapping[str, Tensor], name: str) -> None:
        super().__init__()
        self.register_buffer("kernel", tensors[f"{name}/kernel"])
        self.register_buffer("bias", tensors[f"{name}/bias"])

    def forward(self, x: Tensor) -> Tensor:
        return torch.addmm(self.bias, x, self.kernel)


def _numbered(name: str, number: int) -> str:
    return f"{name}_{number}" if number else name
