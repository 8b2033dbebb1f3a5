"""The precision of a forward pass, and the layers that a device cannot compute in it."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

__all__ = ["PRECISIONS", "autocast"]

_log = logging.getLogger(__name__)

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

#: Operators that a library computes as a whole, which knows half precision on some processors only; each with the
#: smallest layer that calls it.
_RECURRENT: Mapping[str, Callable[[], nn.Module]] = {
    "lstm": lambda: nn.LSTM(2, 2, batch_first=True),
    "gru": lambda: nn.GRU(2, 2, batch_first=True),
    "rnn_tanh": lambda: nn.RNN(2, 2, batch_first=True),
    "rnn_relu": lambda: nn.RNN(2, 2, nonlinearity="relu", batch_first=True),
}


@contextmanager
def autocast(device: torch.device, precision: str) -> Iterator[None]:
    """Compute a forward pass in the precision inside.

    Recurrent layers that the device cannot compute in it, forward and backward, are computed in float32 with a
    warning: oneDNN needs AVX-512 for an LSTM in bfloat16, and more for one in float16.

    Args:
        device: where the network is.
        precision: as in the table ``[training]``.
    """
    dtype = PRECISIONS[precision]
    if dtype == torch.float32:
        yield
        return
    failing = unsupported(device.type, dtype)
    with torch.autocast(device.type, dtype):
        if failing:
            with _InSinglePrecision(failing, device.type, precision):
                yield
        else:
            yield


@functools.cache
def unsupported(device: str, dtype: torch.dtype) -> frozenset[str]:
    """Return the recurrent operators that fail on a device in a precision; tried once in a process."""
    return frozenset(name for name in _RECURRENT if not _works(name, device, dtype))


def _works(name: str, device: str, dtype: torch.dtype) -> bool:
    """Try a tiny layer forward and backward; no random number is drawn."""
    with torch.random.fork_rng(devices=[] if device == "cpu" else None), torch.enable_grad():
        layer = _RECURRENT[name]().to(device)
        x = torch.zeros(2, 3, 2, device=device, requires_grad=True)
        try:
            with torch.autocast(device, dtype):
                outputs, _ = layer(x)
            outputs.float().sum().backward()
        except (RuntimeError, NotImplementedError):
            return False
    return True


class _InSinglePrecision(TorchFunctionMode):
    """Inside, some operators are computed in float32, whoever calls them."""

    def __init__(self, names: frozenset[str], device: str, precision: str) -> None:
        super().__init__()
        self._names, self._device, self._precision = names, device, precision
        self._warned = False

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if getattr(func, "__name__", None) not in self._names:
            return func(*args, **(kwargs or {}))
        if not self._warned:
            self._warned = True
            _log.warning(
                f"recurrent layers are computed in float32: {func.__name__} cannot be computed in {self._precision} "
                f"on this machine's {self._device}"
            )
        with torch.autocast(self._device, enabled=False):
            return func(*_single(args), **{name: _single(value) for name, value in (kwargs or {}).items()})


def _single(value: Any) -> Any:
    """Return tensors of half precision, also in lists and tuples, in float32."""
    if isinstance(value, Tensor):
        return value.float() if value.dtype in (torch.float16, torch.bfloat16) else value
    if isinstance(value, list | tuple):
        return type(value)(_single(inner) for inner in value)
    return value
