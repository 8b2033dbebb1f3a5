"""The contract of sharing architectures: modules between the backbone and the heads."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

__all__ = ["Sharing", "TaskModules"]


class TaskModules(nn.ModuleDict):
    """Modules by task, whose names may be those of a dictionary's methods: a task may be called `pop`."""

    def __init__(self, modules: Mapping[str, nn.Module] | None = None) -> None:
        super().__init__()
        for name, module in (modules or {}).items():
            self[name] = module

    def add_module(self, name: str, module: nn.Module | None) -> None:
        """Register a module."""
        self._modules[name] = module  # type: ignore[assignment]  # torch's own hint of it leaves None out


class Sharing(nn.Module):
    """Base class of sharing architectures, which give each task a representation of its own.

    The backbone computes an embedding, the architecture a representation of it for each task, and the head of a task
    its predictions from its representation. Override `forward`. Keep modules of single tasks in `TaskModules`, so that
    a transfer finds them by the name of the task.

    A representation must depend only on its own row of the embedding: a track has the same predictions alone and in any
    batch. `musicemo.testing.check_sharing` checks this.

    Args:
        tasks: names of the tasks.
        embedding_size: size of the embedding.
    """

    #: Size of the representations, the input of the heads. By default, that of the embedding.
    size: int

    def __init__(self, *, tasks: Sequence[str], embedding_size: int) -> None:
        super().__init__()
        self.tasks = tuple(tasks)
        self.embedding_size = embedding_size
        self.size = embedding_size

    def forward(self, embedding: Tensor) -> dict[str, Tensor]:
        """Return task -> its representation `[..., size]`, from an embedding `[..., embedding_size]`.

        The embedding is `[batch, embedding_size]`, or `[batch, time, embedding_size]` for tasks with ratings over time.
        """
        raise NotImplementedError(f"{type(self).__name__} does not override forward")

    def users(self) -> dict[str, tuple[str, ...]]:
        """Return the name of each trained parameter -> the tasks whose representation depends on it.

        The gradient of a parameter with several users is combined by gradient-based weightings; one with a single user
        is trained by its task, like its head. The tasks are determined by differentiating the representations of a row
        of zeros in evaluation mode. Override this method if which parameters are used depends on the values.
        """
        probe = copy.deepcopy(self).eval()
        parameters = {name: one for name, one in probe.named_parameters() if one.requires_grad}
        users: dict[str, tuple[str, ...]] = dict.fromkeys(parameters, ())
        if not parameters:
            return users
        first = next(iter(parameters.values()))
        with torch.enable_grad():
            representations = probe(first.new_zeros(1, self.embedding_size))
            for task, representation in representations.items():
                if not representation.requires_grad:
                    continue
                gradients = torch.autograd.grad(
                    representation.sum(), list(parameters.values()), retain_graph=True, allow_unused=True
                )
                for name, gradient in zip(parameters, gradients, strict=True):
                    if gradient is not None:
                        users[name] += (task,)
        return users
