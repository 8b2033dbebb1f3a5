"""The `sonatina-gru` model."""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn


class GRU(nn.Module):
    """The last state of a gated recurrent unit.

    Args:
        input_size: Number of feature rows.
        hidden: Units.
    """

    def __init__(self, *, input_size: int, hidden: Annotated[int, Field(gt=0)] = 16) -> None:
        super().__init__()
        self.embedding_size = hidden
        self.gru = nn.GRU(input_size, hidden, batch_first=True)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Return the state after each track's own last step."""
        states, _ = self.gru(x)
        return states[torch.arange(len(x), device=x.device), lengths.to(x.device) - 1]
