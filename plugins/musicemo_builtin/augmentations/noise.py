"""The `noise` augmentation."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import numpy as np
import torch
from pydantic import Field

from musicemo.contracts import Examples

__all__ = ["Noise"]


class Noise:
    """Gaussian noise on all features.

        x + deviation n,   n from the normal distribution N(0, 1), for each time step and row

    Args:
        deviation: Standard deviation of the noise, in the units of the scaled features: with
            ``scaling.method = "standard"``, as a share of the standard deviation of each row.
    """

    def __init__(self, *, deviation: Annotated[float, Field(gt=0, le=100)] = 0.1) -> None:
        self.deviation = deviation

    def __call__(self, examples: Examples, random: np.random.Generator) -> Examples:
        """Return the noisy examples."""
        noise = torch.from_numpy(random.standard_normal(examples.x.shape, dtype=np.float32))
        return replace(examples, x=examples.x + self.deviation * noise * examples.mask[:, :, None])
