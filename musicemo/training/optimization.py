"""Optimizers, learning-rate schedules and devices from their settings."""

from __future__ import annotations

import contextlib
import functools
import inspect
import math
from collections.abc import Callable, Collection, Iterator
from typing import Any, TypeVar

import torch
from torch import nn
from torch.optim import lr_scheduler

from musicemo.errors import InputError
from musicemo.training.network import matching_parameters
from musicemo.training.settings import (
    SGD,
    AdamW,
    Cosine,
    OptimizerSettings,
    Plateau,
    ScheduleSettings,
    StepDecay,
)

__all__ = ["Schedule", "choose_device", "make_optimizer", "parameter_rates", "trainable", "use_threads"]

#: Layers whose parameters scale and shift what they normalize, also those of two and more dimensions.
_NORMALIZATION = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)

_Optimizer = TypeVar("_Optimizer", bound=torch.optim.Optimizer)


def choose_device(name: str) -> torch.device:
    """Return the device: `auto` is CUDA if it is available, else MPS, else the CPU; `cuda:1` is the second GPU.

    Raises:
        InputError: the device is not available.
    """
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(device for device, available in there.items() if available)
    kind, colon, number = name.partition(":")
    numbered = not colon or (kind == "cuda" and number.isdecimal() and int(number) < torch.cuda.device_count())
    if not there.get(kind, False) or not numbered:
        usable = ", ".join(device for device, available in there.items() if available)
        raise InputError(f"training.device: this machine has no {name!r} device (available: auto, {usable})")
    return torch.device(name)


@contextlib.contextmanager
def use_threads(count: int | None) -> Iterator[None]:
    """Compute with that many processor threads inside; None for as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def trainable(module: nn.Module) -> list[nn.Parameter]:
    """Return a module's parameters that are trained."""
    return [parameter for parameter in module.parameters() if parameter.requires_grad]


def make_optimizer(
    settings: OptimizerSettings, network: nn.Module, weighting: nn.Module
) -> torch.optim.Optimizer:
    """Return an optimizer of the network's trainable parameters and, without decay, the weighting's.

    The network's parameters are in groups by learning rate and, with `decay = "weights"`, by decay. Those with the
    optimizer's own rate come first, and those with decay before those without. A group's `rate` is its factor of the
    learning rate. The form of the optimizer is torch's fused one: on a CPU a step of Adam takes a tenth of the time of
    the default one.

    Raises:
        InputError: a key of `rates` matches no parameter.
    """
    rates = parameter_rates(settings, network)
    decaying: Collection[nn.Parameter] = _weights(network) if settings.decay == "weights" else rates
    members: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for parameter, rate in rates.items():
        members.setdefault((rate, parameter in decaying), []).append(parameter)
    groups: list[dict[str, Any]] = []
    for rate, decays in sorted(members, key=lambda one: (one[0] != 1, one[0], not one[1])):
        group: dict[str, Any] = {"params": members[rate, decays]}
        if rate != 1:
            group |= {"lr": settings.lr * rate, "rate": rate}
        groups.append(group if decays else {**group, "weight_decay": 0.0})
    if parameters := trainable(weighting):
        groups.append({"params": parameters, "weight_decay": 0.0})
    optimizer: torch.optim.Optimizer
    if isinstance(settings, SGD):
        optimizer = _eager(torch.optim.SGD)(
            groups,
            settings.lr,
            momentum=settings.momentum,
            nesterov=settings.nesterov,
            weight_decay=settings.weight_decay,
            fused=True,
        )
    else:
        kind = torch.optim.AdamW if isinstance(settings, AdamW) else torch.optim.Adam
        optimizer = _eager(kind)(
            groups, settings.lr, betas=settings.betas, weight_decay=settings.weight_decay, fused=True
        )
    return optimizer


def parameter_rates(settings: OptimizerSettings, network: nn.Module) -> dict[nn.Parameter, float]:
    """Return each trainable parameter's factor of the learning rate.

    Raises:
        InputError: a key of `rates` matches no parameter.
    """
    names = dict(network.named_parameters())
    rates = dict.fromkeys(trainable(network), 1.0)
    for pattern, rate in sorted((settings.rates or {}).items(), key=lambda entry: (len(entry[0]), entry[0])):
        for name in matching_parameters(names, pattern):
            if names[name] in rates:
                rates[names[name]] = rate
    return rates


def _weights(network: nn.Module) -> dict[nn.Parameter, None]:
    """Return the trainable parameters that are neither biases, nor of normalization layers, nor of one dimension.

    A parameter that several modules share is a weight unless one of them is a normalization layer.
    """
    normalizing = {
        parameter
        for module in network.modules()
        if isinstance(module, _NORMALIZATION)
        for parameter in module.parameters(recurse=False)
    }
    return {
        parameter: None
        for name, parameter in network.named_parameters()
        if parameter.requires_grad
        and parameter.dim() > 1
        and parameter not in normalizing
        and "bias" not in name.rpartition(".")[2]
    }


@functools.cache
def _eager(kind: type[_Optimizer]) -> type[_Optimizer]:
    """Return a subclass of an optimizer whose methods do not import torch's compiler.

    torch marks these methods for `torch.compile`, and the marks import `torch._dynamo`, `sympy` and 1,500 other
    modules: more than a second of every run. `inspect.unwrap` gives the methods without their marks. Hooks of a step
    stay.
    """

    def step(self: _Optimizer, closure: Callable[[], float] | None = None) -> float | None:
        with torch.no_grad():
            result: float | None = inspect.unwrap(kind.step)(self, closure)
            return result

    names = ("add_param_group", "load_state_dict", "state_dict", "zero_grad")
    methods = {name: inspect.unwrap(getattr(kind, name)) for name in names}
    subclass: type[_Optimizer] = type(kind.__name__, (kind,), {**methods, "step": step})
    return subclass


class Schedule:
    """A learning-rate schedule that steps once an epoch."""

    def __init__(
        self, settings: ScheduleSettings, optimizer: torch.optim.Optimizer, epochs: int, mode: str
    ) -> None:
        self._plateau: lr_scheduler.ReduceLROnPlateau | None = None
        self._scheduler: lr_scheduler.LRScheduler | None = None
        if isinstance(settings, Plateau):
            self._plateau = lr_scheduler.ReduceLROnPlateau(
                optimizer,
                "max" if mode == "max" else "min",
                factor=settings.factor,
                patience=settings.patience,
                threshold=0.0,
            )
        elif isinstance(settings, Cosine | StepDecay):
            self._scheduler = _with_warmup(settings, optimizer, epochs)

    def step(self, monitored: float) -> None:
        """Finish an epoch in which the monitored quantity was this."""
        if self._plateau is not None:
            self._plateau.step(monitored)
        elif self._scheduler is not None:
            self._scheduler.step()

    def state_dict(self) -> dict[str, Any]:
        """Return the schedule's state."""
        scheduler = self._plateau or self._scheduler
        return scheduler.state_dict() if scheduler else {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a state.

        Raises:
            KeyError: it lacks something, which torch would go on without.
        """
        if scheduler := self._plateau or self._scheduler:
            scheduler.load_state_dict({name: state[name] for name in scheduler.state_dict()})


def _with_warmup(
    settings: Cosine | StepDecay, optimizer: torch.optim.Optimizer, epochs: int
) -> lr_scheduler.LRScheduler:
    def factor(epoch: int) -> float:
        if epoch < settings.warmup:
            return (epoch + 1) / (settings.warmup + 1)
        past = epoch - settings.warmup
        if isinstance(settings, StepDecay):
            return settings.factor ** (past // settings.every)
        progress = min(past / max(1, epochs - settings.warmup), 1.0)
        return settings.final + (1 - settings.final) * (1 + math.cos(math.pi * progress)) / 2

    return lr_scheduler.LambdaLR(optimizer, factor)
