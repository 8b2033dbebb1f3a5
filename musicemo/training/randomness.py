"""Random number generators that a component may use: seeding, saving, restoring, and repeating a forward pass."""

from __future__ import annotations

import random
from types import TracebackType
from typing import Any

import numpy as np
import torch
from torch import nn

__all__ = ["Repetition", "random_state", "restore_random_state", "seed_everything"]


def seed_everything(seed: int) -> None:
    """Seed every random number generator that a component may use."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002  # plugins may use it
    torch.manual_seed(seed)


def random_state() -> dict[str, Any]:
    """Return the state of every random number generator that a component may use."""
    version, internal, gauss = random.getstate()
    name, keys, position, has_gauss, cached = np.random.get_state(legacy=True)  # noqa: NPY002  # plugins may use it
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "python": [version, torch.tensor(internal), gauss],  # as a tensor, since numbers are pickled one by one
        "numpy": [name, torch.from_numpy(np.asarray(keys).astype(np.int64)), position, has_gauss, cached],
    }


def restore_random_state(state: dict[str, Any]) -> None:
    """Continue every generator where `random_state` saw it."""
    torch.set_rng_state(state["torch"])
    if torch.cuda.is_available() and state["cuda"]:
        torch.cuda.set_rng_state_all(state["cuda"])
    version, internal, gauss = state["python"]
    numbers = (
        internal.tolist() if isinstance(internal, torch.Tensor) else internal
    )  # a list in earlier versions
    random.setstate((version, tuple(numbers), gauss))
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))  # noqa: NPY002  # plugins may use it


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
        for device, device_state in zip(self._devices, state[1:], strict=True):
            torch.cuda.set_rng_state(device_state, device)
