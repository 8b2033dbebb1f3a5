"""The exponential moving average of a network's weights."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn

__all__ = ["WeightAverage"]


class WeightAverage(nn.Module):
    r"""The exponential moving average of a network's weights.

    After optimizer step :math:`t = 1, 2, \dots` the average is :math:`\bar\theta_t = d_t \bar\theta_{t-1} + (1 - d_t)
    \theta_t` with :math:`d_t = \min(d, (1 + t) / (10 + t))`, so that the initial weights do not dominate short
    trainings. The statistics of batch normalization, and other buffers of floating-point numbers, are averaged in the
    same way. A value that is not finite, such as -inf in a mask, is copied.

    While an epoch is trained, this module's buffers hold the average. Otherwise they hold the weights of the training,
    and the network has the average: it is evaluated, stored and loaded as it is.

    Args:
        network: the network, on its device, with its initial weights.
        decay: the largest decay d, between 0 and 1.

    Source: Polyak and Juditsky (1992), "Acceleration of Stochastic Approximation by Averaging"; the increasing decay is
    that of TensorFlow's `ExponentialMovingAverage`.
    """

    steps: Tensor

    def __init__(self, network: nn.Module, decay: float) -> None:
        super().__init__()
        self._decay = decay
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        for name, value in _averaged(network):
            self.register_buffer(_key(name), value.detach().clone())

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Include the network's weights after an optimizer step."""
        self.steps += 1
        step = int(self.steps)
        weight = 1 - min(self._decay, (1 + step) / (10 + step))
        for name, value in _averaged(network):
            average = self.get_buffer(_key(name))
            mean = average.lerp(value, weight)
            average.copy_(torch.where(mean.isfinite(), mean, value))

    @contextlib.contextmanager
    def exchanged(self, network: nn.Module) -> Iterator[None]:
        """Give the network the weights of the training inside, and the average afterwards."""
        self._exchange(network)
        try:
            yield
        finally:
            self._exchange(network)

    @torch.no_grad()
    def _exchange(self, network: nn.Module) -> None:
        for name, value in _averaged(network):
            other = self.get_buffer(_key(name))
            kept = value.clone()
            value.copy_(other)
            other.copy_(kept)


def _averaged(network: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yield the names and values of the trained parameters and of the buffers of floating-point numbers."""
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            yield name, parameter
    for name, buffer in network.named_buffers():
        if buffer.is_floating_point():
            yield name, buffer


def _key(name: str) -> str:
    """Return the name of a buffer, which must not have dots."""
    return name.replace(".", "/")
