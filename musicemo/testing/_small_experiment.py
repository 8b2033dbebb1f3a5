"""A small dataset in memory, a model, a loss and a weighting, with which a plugin's hooks are tested.

The experiment `EXPERIMENT` names these classes by this file, so that nothing needs to be installed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from musicemo.contracts import Target, Track, Weighting

__all__ = ["EXPERIMENT"]

EXPERIMENT = f"""
name = "small"
seeds = [0, 1]
dataset = {{ type = '{Path(__file__)}:Tones' }}
model = {{ type = '{Path(__file__)}:Mean' }}
weighting = {{ type = '{Path(__file__)}:Total' }}

[split]
method = "random"

[training]
epochs = 3
batch_size = 16
device = "cpu"

[evaluation]
resamples = 100

[tasks.valence]
loss = {{ type = '{Path(__file__)}:Squared' }}

[tasks.genre]
loss = {{ type = '{Path(__file__)}:Likelihood' }}
"""


class Tones:
    """Forty clips of chroma in memory, with a regression and a classification target."""

    targets = (
        Target("valence", "regression", range=(1.0, 9.0)),
        Target("genre", "classification", classes=("jazz", "pop")),
    )

    def tracks(self) -> Iterator[Track]:
        """Yield the clips."""
        generator = np.random.default_rng(0)
        for index in range(40):
            features = generator.normal(size=(8 + index % 5, 12)).astype(np.float32)
            valence = float(np.clip(5 + features[:, 0].mean(), 1, 9))
            yield Track(f"clip{index}", features, {"valence": valence, "genre": ("jazz", "pop")[index % 2]})


class Mean(nn.Module):
    """One layer after mean pooling over time."""

    def __init__(self, *, input_size: int) -> None:
        super().__init__()
        self.embedding_size = 4
        self.layer = nn.Linear(input_size, 4)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Return the embedding."""
        embedding: Tensor = self.layer(x.sum(1) / lengths[:, None])
        return embedding


class Squared(nn.Module):
    """Mean squared error."""

    kind = "regression"

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the loss."""
        return nn.functional.mse_loss(prediction, target)


class Likelihood(nn.Module):
    """Mean negative log-likelihood."""

    kind = "classification"

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the loss."""
        return nn.functional.cross_entropy(prediction, target)


class Total(Weighting):
    """The sum of the losses."""

    def combine(self, losses: Mapping[str, Tensor]) -> Tensor:
        """Return the sum."""
        return torch.stack(list(losses.values())).sum()
