"""Dense layers, and mixtures of experts with a gate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

__all__ = ["Count", "Gate", "Sizes", "dense"]

Count = Annotated[int, Field(gt=0)]
#: Number of units of each layer.
Sizes = Annotated[list[Count], Field(min_length=1)]


def dense(size: int, hidden: Sequence[int]) -> nn.Sequential:
    """Return dense layers, each followed by ReLU.

    Args:
        size: size of the input.
        hidden: number of units of each layer.
    """
    layers = nn.Sequential()
    for inputs, outputs in zip([size, *hidden], hidden, strict=False):
        layers.append(nn.Linear(inputs, outputs))
        layers.append(nn.ReLU())
    return layers


class Gate(nn.Module):
    """The mean of the outputs of some experts, with weights softmax(W x) that depend on the input x.

    Args:
        size: size of x.
        experts: number of experts.
    """

    def __init__(self, size: int, experts: int) -> None:
        super().__init__()
        self.scores = nn.Linear(size, experts, bias=False)

    def forward(self, x: Tensor, outputs: Sequence[Tensor]) -> Tensor:
        """Return `[..., hidden]` from x `[..., size]` and the outputs of the experts, each `[..., hidden]`."""
        weights = self.scores(x).softmax(-1)
        mixed: Tensor = (torch.stack(list(outputs), dim=-1) @ weights.unsqueeze(-1)).squeeze(-1)
        return mixed
