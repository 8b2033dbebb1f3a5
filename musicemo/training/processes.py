"""The processes that train one network: each has its share of every batch, and all take the same steps."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import inspect
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call
from torch.overrides import TorchFunctionMode

from musicemo.errors import RunError
from musicemo.ops import collective, whole_batch_norm
from musicemo.training.network import Network

__all__ = ["SINGLE", "Processes"]

#: The loss of a process ends its connections, which is noticed at once: a wait may take as long as it takes.
_PATIENCE = datetime.timedelta(days=7)

#: How far the weights of two processes may be apart, relative to the largest.
_APART = 1e-3


class Processes:
    """The processes that train one network.

    The first process decides and records; the others follow. The embeddings of all processes are gathered, and the
    heads, the losses and the weighting are computed in every process on the whole batch; see `musicemo.ops.collective`.
    So a rank correlation is that of the whole batch, and its gradient is the one of a single process.

    Args:
        rank: number of this process; the first is 0.
        size: number of processes.
    """

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank, self.size = rank, size

    @property
    def first(self) -> bool:
        """Whether this process decides and records."""
        return self.rank == 0

    @contextlib.contextmanager
    def connected(self, folder: Path, device: torch.device) -> Iterator[None]:
        """Connect to the others inside, through a file in a folder that all see.

        Raises:
            RuntimeError: a process has ended.
        """
        names = [name for _, name in socket.if_nameindex()]
        if loopback := next((name for name in ("lo", "lo0") if name in names), None):
            os.environ.setdefault("GLOO_SOCKET_IFNAME", loopback)  # all are on this machine
        store = dist.FileStore(  # type: ignore[attr-defined]  # torch exports it
            str(folder / "store"), self.size
        )
        backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
        dist.init_process_group(backend, store=store, rank=self.rank, world_size=self.size, timeout=_PATIENCE)
        try:
            yield
        finally:
            dist.destroy_process_group()

    def embed(self, network: Network, x: Tensor, lengths: Tensor, indices: NDArray[np.intp]) -> Tensor:
        """Return the embeddings of a whole batch, from the share of this process.

        The backbone draws other random numbers in each process. Those that are drawn outside are the same in all, and
        the same as in a single process whose backbone draws none.

        Args:
            network: the network.
            x: features of the share.
            lengths: time steps of each of its tracks.
            indices: the tracks of the batch.
        """
        if self.size == 1:
            return network.embed(x, lengths)
        counts = [len(share) for share in self._shares(len(indices))]
        shared = {
            name: parameter
            for name, parameter in network.named_parameters()
            if parameter.requires_grad and not name.startswith(("sharing.", "heads."))
        }
        copies = dict(zip(shared, collective.replicate(list(shared.values())), strict=True)) if shared else {}
        state = torch.get_rng_state().numpy().tobytes() + indices.tobytes() + str(self.rank).encode()
        seed = int.from_bytes(hashlib.blake2b(state, digest_size=7).digest())
        devices = [x.device] if x.device.type == "cuda" else []
        with (
            torch.random.fork_rng(devices),
            collective.communicating(counts=counts[self.rank] > 0),
            _WholeBatchNormalization() if _normalizes(network) else contextlib.nullcontext(),
        ):
            torch.manual_seed(seed)
            embedding = functional_call(
                _Backbone(network), {f"network.{name}": copy for name, copy in copies.items()}, (x, lengths)
            )
        return collective.gather(embedding, counts)

    def share(self, indices: NDArray[np.intp]) -> NDArray[np.intp]:
        """Return the share of a batch of tracks: a track that does not count if there are fewer than processes."""
        share = self._shares(len(indices))[self.rank]
        return indices[share] if len(share) else indices[:1]

    def _shares(self, tracks: int) -> Sequence[NDArray[np.intp]]:
        return np.array_split(np.arange(tracks), self.size)

    def from_first(self, value: Any) -> Any:
        """Return the first process's value in every process."""
        if self.size == 1:
            return value
        values = [value]
        dist.broadcast_object_list(values, device=torch.device("cpu"))
        return values[0]

    def all(self, value: Any) -> list[Any]:
        """Return the values of all processes."""
        if self.size == 1:
            return [value]
        values = [None] * self.size
        dist.all_gather_object(values, value)
        return values

    @torch.no_grad()
    def align(self, modules: Sequence[nn.Module], epoch: int) -> None:
        """Give every process the first one's weights and buffers, from which rounding can move them away.

        Raises:
            RunError: they are further apart: gradients of the model bypass the parameters that it registers.
        """
        if self.size == 1:
            return
        for module in modules:
            for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
                first = tensor.detach().clone()
                dist.broadcast(first, 0)
                apart = (tensor.detach() - first).abs().max() if tensor.numel() else torch.zeros(())
                if isinstance(tensor, nn.Parameter) and apart > _APART * first.abs().max().clamp(min=1.0):
                    raise RunError(
                        f"epoch {epoch}: {name} differs between the processes by {float(apart):.2g}: the model does "
                        "not compute with the parameters that it registers. Set training.processes to 1"
                    )
                tensor.copy_(first)


class _WholeBatchNormalization(TorchFunctionMode):
    """Inside, batch normalization in training has the statistics of all processes, in whichever layer."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func is not nn.functional.batch_norm:
            return func(*args, **(kwargs or {}))
        call = inspect.signature(nn.functional.batch_norm).bind(*args, **(kwargs or {}))
        call.apply_defaults()
        if not call.arguments["training"]:
            return func(*args, **(kwargs or {}))
        return whole_batch_norm(**{k: value for k, value in call.arguments.items() if k != "training"})


def _normalizes(network: Network) -> bool:
    return any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in network.modules())


class _Backbone(nn.Module):
    """The part of a network that is computed on shares of a batch."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        return self.network.embed(x, lengths)


#: One process that trains a network alone.
SINGLE = Processes()
