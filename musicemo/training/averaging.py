"""Averages of a network's weights: the exponential moving average, and stochastic weight averaging."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor, nn

from musicemo.data import Batch
from musicemo.training.settings import SWA, AverageSettings

__all__ = ["ExponentialAverage", "StochasticAverage", "WeightAverage", "make_average", "recompute_statistics"]


class WeightAverage(nn.Module):
    """An average of a network's weights.

    Buffers of floating-point numbers are averaged like the trained parameters. A value that is not finite, such as -inf
    in a mask, is copied.

    While an epoch is trained, this module's buffers hold the average. Otherwise they hold the weights of the training,
    and the network has the average: it is evaluated, stored and loaded as it is.

    Args:
        network: the network, on its device, with its initial weights.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        for name, value in _averaged(network):
            self.register_buffer(_key(name), value.detach().clone())

    @property
    def recomputes(self) -> bool:
        """Whether the statistics of batch normalization must be recomputed with the averaged weights."""
        return False

    def step_finished(self, network: nn.Module) -> None:
        """Include the network's weights after an optimizer step, if steps are averaged."""

    def epoch_finished(self, network: nn.Module) -> None:
        """Include the network's weights after the last step of an epoch, if epochs are averaged."""

    @torch.no_grad()
    def _include(self, network: nn.Module, weight: float) -> None:
        """Move the average towards the network's weights, by this share of the distance."""
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


class ExponentialAverage(WeightAverage):
    r"""The exponential moving average of a network's weights.

    After optimizer step :math:`t = 1, 2, \dots` the average is :math:`\bar\theta_t = d_t \bar\theta_{t-1} + (1 - d_t)
    \theta_t` with :math:`d_t = \min(d, (1 + t) / (10 + t))`, so that the initial weights do not dominate short
    trainings. The statistics of batch normalization are averaged in the same way.

    Args:
        network: the network, on its device, with its initial weights.
        decay: the largest decay d, between 0 and 1.

    Source: Polyak and Juditsky (1992), "Acceleration of Stochastic Approximation by Averaging"; the increasing decay is
    that of TensorFlow's `ExponentialMovingAverage`.
    """

    steps: Tensor

    def __init__(self, network: nn.Module, decay: float) -> None:
        super().__init__(network)
        self._decay = decay
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def step_finished(self, network: nn.Module) -> None:
        """Include the network's weights after an optimizer step."""
        self.steps += 1
        step = int(self.steps)
        self._include(network, 1 - min(self._decay, (1 + step) / (10 + step)))


class StochasticAverage(WeightAverage):
    r"""The mean of the weights after each epoch from an epoch on.

    After epoch :math:`e \ge s` it is :math:`\bar\theta_e = \frac{1}{e - s + 1} \sum_{i=s}^{e} \theta_i`, with :math:`s`
    the first epoch that counts. Before, it is :math:`\theta_e`.

    Args:
        network: the network, on its device, with its initial weights.
        start: the first epoch s that counts.

    Source: Izmailov, Podoprikhin, Garipov, Vetrov and Wilson (2018), "Averaging Weights Leads to Wider Optima and
    Better Generalization".
    """

    epochs: Tensor

    def __init__(self, network: nn.Module, start: int) -> None:
        super().__init__(network)
        self._start = start
        self.register_buffer("epochs", torch.zeros((), dtype=torch.int64))

    @property
    def recomputes(self) -> bool:
        """Whether an epoch counts: no statistics of batch normalization belong to the mean of its weights."""
        return int(self.epochs) >= self._start

    def epoch_finished(self, network: nn.Module) -> None:
        """Include the network's weights after an epoch."""
        self.epochs += 1
        self._include(network, 1 / max(1, int(self.epochs) - self._start + 1))


def make_average(settings: AverageSettings | None, network: nn.Module) -> WeightAverage | None:
    """Return the average of a network's weights; None without settings."""
    if settings is None:
        return None
    if isinstance(settings, SWA):
        return StochasticAverage(network, settings.start)
    return ExponentialAverage(network, settings.decay)


@torch.no_grad()
def recompute_statistics(network: nn.Module, batches: Iterable[Batch], call: Callable[[Batch], object]) -> None:
    """Set the statistics of batch normalization to their means over batches.

    All other layers are in evaluation mode, as when the network is used: dropout passes everything on, and no random
    numbers are drawn. Layers that are frozen, or have no statistics, are left as they are. Nothing is computed if there
    are no others.

    Args:
        network: the network, which is in evaluation mode afterwards.
        batches: batches of the training set. Each call of a layer has equal weight.
        call: passes a batch through the network.
    """
    network.train()
    layers = [
        module
        for module in network.modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm)
        and module.training
        and module.running_mean is not None
    ]
    network.eval()
    if not layers:
        return
    calls = dict.fromkeys(layers, 0)

    def count(layer: nn.modules.batchnorm._BatchNorm, arguments: object) -> None:
        calls[layer] += 1
        layer.momentum = 1 / calls[layer]

    kept = [(layer.momentum, copy.deepcopy(layer.num_batches_tracked)) for layer in layers]
    hooks = [layer.register_forward_pre_hook(count) for layer in layers]
    try:
        for layer in layers:
            layer.train()
            layer.reset_running_stats()
        for batch in batches:
            call(batch)
    finally:
        for layer, hook, (momentum, tracked) in zip(layers, hooks, kept, strict=True):
            hook.remove()
            layer.momentum, layer.num_batches_tracked = momentum, tracked  # those of the training
        network.eval()


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
