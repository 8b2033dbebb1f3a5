"""The `crop` augmentation."""

from __future__ import annotations

from typing import Annotated

import numpy as np
import torch
from pydantic import Field

from musicemo.contracts import Examples

__all__ = ["Crop"]


class Crop:
    """A random excerpt of each track.

    Every start within the track has the same probability. A track that is not longer than `length` is not changed.

    The labels are those of the whole track: choose excerpts that are long enough to express them. The validation and
    test set are evaluated on `evaluation` excerpts of the same length, evenly spaced from the start of a track to its
    end. The outputs of the network, ratings or logits, are averaged over them. So are the predictions of a trained
    run.

    Args:
        length: Number of time steps of an excerpt.
        evaluation: Number of excerpts of a track in evaluation. 0 evaluates the whole track.
    """

    aligned = False

    def __init__(
        self, *, length: Annotated[int, Field(gt=0)], evaluation: Annotated[int, Field(ge=0, le=1000)] = 5
    ) -> None:
        self.length = length
        self.excerpts = (length, evaluation) if evaluation else None

    def __call__(self, examples: Examples, random: np.random.Generator) -> Examples:
        """Return the excerpts."""
        spare = (examples.lengths - self.length).clamp(min=0)
        starts = torch.from_numpy(random.integers(0, spare.numpy() + 1))
        steps = starts[:, None] + torch.arange(min(self.length, examples.x.shape[1]))
        inside = steps < examples.lengths[:, None]
        rows = torch.arange(len(examples.x))[:, None]
        x = examples.x[rows, steps.clamp(max=examples.x.shape[1] - 1)] * inside[:, :, None]
        return Examples(x, examples.lengths.clamp(max=self.length), examples.labels)
