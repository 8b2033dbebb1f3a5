"""A batch's forward pass, repeated as it was."""

from __future__ import annotations

from types import TracebackType

import torch
from torch import nn

__all__ = ["Repetition"]


class Repetition:
    """Made before a forward pass, repeats it as a ``with`` statement: the same dropout, and no trace of it.

    Inside, random numbers are those of the first pass; after it, the generators and the network's buffers, such as
    the statistics of batch normalization, go on as though there had been one pass alone.
    """

    def __init__(self, network: nn.Module, device: torch.device) -> None:
        self._network = network
        self._devices = [device] if device.type == "cuda" else []
        self._first = self._state()

    def __enter__(self) -> None:
        self._after = self._state()
        self._buffers = [buffer.clone() for buffer in self._network.buffers()]
        self._restore(self._first)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore(self._after)
        with torch.no_grad():
            for buffer, kept in zip(self._network.buffers(), self._buffers, strict=True):
                buffer.copy_(kept)

    def _state(self) -> list[torch.Tensor]:
        return [torch.get_rng_state(), *(torch.cuda.get_rng_state(device) for device in self._devices)]

    def _restore(self, state: list[torch.Tensor]) -> None:
        torch.set_rng_state(state[0])
        for device, found in zip(self._devices, state[1:], strict=True):
            torch.cuda.set_rng_state(found, device)
