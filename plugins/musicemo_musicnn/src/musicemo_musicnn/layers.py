"""Layers whose weights are TensorFlow's variables."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

__all__ = ["Convolution", "Dense", "Norm", "numbered", "to_tensors"]

_EPSILON = 1e-3
"""TensorFlow's default, which the weights were trained with."""


def to_tensors(weights: Mapping[str, NDArray[np.float32]]) -> dict[str, Tensor]:
    """Return name -> tensor, which shares no memory with the array."""
    return {name: torch.from_numpy(np.array(values)) for name, values in weights.items()}


def numbered(name: str, number: int) -> str:
    """Return TensorFlow's name of the layer of a type with this number, from 0 on."""
    return f"{name}_{number}" if number else name


class Convolution(nn.Module):
    """A convolution with as many frames as before, rectified, then normalized: `[batch, filters, frames, places]`.

    Args:
        tensors: TensorFlow's variables by name.
        name: Name of the convolution.
        norm: Number of the batch normalization.
        bands: Number of places in frequency: "same" as the input's, or those where the kernel is inside, "valid".
    """

    kernel: Tensor
    bias: Tensor

    def __init__(self, tensors: Mapping[str, Tensor], name: str, norm: int, bands: str = "valid") -> None:
        super().__init__()
        self.register_buffer("kernel", tensors[f"{name}/kernel"].permute(3, 2, 0, 1).contiguous())
        self.register_buffer("bias", tensors[f"{name}/bias"])
        self.norm = Norm(tensors, norm)
        frames, places = (size - 1 for size in self.kernel.shape[2:])
        if bands == "valid":
            places = 0
        # An even kernel reaches further to the following frames, as in TensorFlow.
        self.padding = (places // 2, places - places // 2, frames // 2, frames - frames // 2)

    def forward(self, x: Tensor) -> Tensor:
        """Return `[batch, filters, frames, places]` for `[batch, channels, frames, places]`."""
        result: Tensor = self.norm(F.conv2d(F.pad(x, self.padding), self.kernel, self.bias).relu_())
        return result


class Norm(nn.Module):
    """A batch normalization with the statistics of the training, along the second dimension."""

    scale: Tensor
    shift: Tensor

    def __init__(self, tensors: Mapping[str, Tensor], number: int) -> None:
        super().__init__()
        name = numbered("batch_normalization", number)
        scale = tensors[f"{name}/gamma"] / (tensors[f"{name}/moving_variance"] + _EPSILON).sqrt()
        self.register_buffer("scale", scale)
        self.register_buffer("shift", tensors[f"{name}/beta"] - tensors[f"{name}/moving_mean"] * scale)

    def forward(self, x: Tensor) -> Tensor:
        """Normalize `[batch, channels, ...]`."""
        shape = (-1, *(1,) * (x.ndim - 2))
        return torch.addcmul(self.shift.view(shape), x, self.scale.view(shape))


class Dense(nn.Module):
    """A dense layer without activation."""

    kernel: Tensor
    bias: Tensor

    def __init__(self, tensors: Mapping[str, Tensor], name: str) -> None:
        super().__init__()
        self.register_buffer("kernel", tensors[f"{name}/kernel"])
        self.register_buffer("bias", tensors[f"{name}/bias"])

    def forward(self, x: Tensor) -> Tensor:
        """Return `[batch, units]` for `[batch, channels]`."""
        return torch.addmm(self.bias, x, self.kernel)
