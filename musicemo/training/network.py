"""The network: a backbone, and a head per task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from musicemo.data import HeadSettings, Task
from musicemo.errors import InputError

__all__ = ["Head", "Network"]


class Head(nn.Sequential):
    """Dense layers from an embedding to ratings `[batch]` or logits `[batch, classes]`."""

    def __init__(self, size: int, task: Task, settings: HeadSettings) -> None:
        layers: list[nn.Module] = []
        for hidden in settings.hidden:
            layers += [nn.Linear(size, hidden), nn.ReLU(), nn.Dropout(settings.dropout)]
            size = hidden
        layers.append(nn.Linear(size, len(task.classes) or 1))
        if task.kind == "regression":
            if settings.output == "sigmoid":
                layers.append(nn.Sigmoid())
            layers.append(nn.Flatten(0))  # [batch, 1] against targets [batch] would broadcast to [batch, batch]
        super().__init__(*layers)


class _Heads(nn.ModuleDict):
    """Modules by task, whose names may be those of a dictionary's methods: a task may be called `pop`."""

    def add_module(self, name: str, module: nn.Module | None) -> None:
        self._modules[name] = module  # type: ignore[assignment]  # torch's own hint of it leaves None out


class Network(nn.Module):
    """`x` `[batch, time, feature]` and `lengths` `[batch]` to an embedding and, by task, predictions."""

    def __init__(self, backbone: nn.Module, tasks: Sequence[Task], heads: Mapping[str, HeadSettings]) -> None:
        super().__init__()
        size = getattr(backbone, "embedding_size", None)
        if not isinstance(size, int):
            raise InputError(f"model {type(backbone).__name__} has no integer attribute embedding_size")
        self.backbone = backbone
        self.heads = _Heads({task.name: Head(size, task, heads[task.name]) for task in tasks})

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the embedding `[batch, embedding]` and the predictions of every task."""
        embedding: Tensor = self.backbone(x, lengths)
        return embedding, {name: head(embedding) for name, head in self.heads.items()}

    @property
    def parameter_count(self) -> int:
        """Number of parameters that are trained."""
        return sum(parameter.numel() for parameter in self.parameters() if parameter.requires_grad)

    def load(self, state: Mapping[str, Any], origin: str) -> None:
        """Load weights that must fit exactly.

        Raises:
            InputError: names what is missing, unknown or of another shape: a checkpoint of another network.
        """
        own = self.state_dict()
        problems = [f"lacks {name}" for name in own if name not in state]
        problems += [f"has {name}, which this network has not" for name in state if name not in own]
        problems += [
            f"has {name} {list(state[name].shape)} where this network has {list(tensor.shape)}"
            for name, tensor in own.items()
            if name in state and state[name].shape != tensor.shape
        ]
        if problems:
            more = f", and {len(problems) - 3} more" if len(problems) > 3 else ""
            raise InputError(f"{origin}: is of another network: it {'; '.join(problems[:3])}{more}")
        with torch.no_grad():
            self.load_state_dict(dict(state))
