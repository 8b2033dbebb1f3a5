"""The `sonatina-quantile` loss."""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn


class Quantile(nn.Module):
    """The pinball loss, whose best constant is a quantile of the targets.

    Args:
        quantile: Which.
    """

    kind = "regression"

    def __init__(self, *, quantile: Annotated[float, Field(gt=0, lt=1)] = 0.5) -> None:
        super().__init__()
        self.quantile = quantile

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the loss of a batch."""
        error = target - prediction
        return torch.maximum(self.quantile * error, (self.quantile - 1) * error).mean()
