"""The `gain` augmentation."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import numpy as np
import torch
from pydantic import Field

from musicemo.contracts import Examples, FeatureRows
from musicemo.errors import InputError

__all__ = ["Gain"]


class Gain:
    """A random gain of each example.

    The gain in dB is uniform from -`limit` to `limit`. It is added to the rows whose extractor declares frequency
    bands on a logarithmic scale. Levels that an extractor makes relative to the loudest value of a clip, as
    `mel-chroma` and `log-mel` do by default, do not depend on a gain of the music: with them it gives examples that
    do not occur, which is noise. Use it with absolute levels, such as those of `log-mel` with ``scale = "log"`` or a
    ``reference``.

    Args:
        limit: Largest gain and loss in dB.

    Raises:
        InputError: The features declare no frequency bands on a logarithmic scale.
    """

    changes = ("loudness", "energy")

    def __init__(self, *, rows: FeatureRows, limit: Annotated[float, Field(gt=0, le=100)] = 6.0) -> None:
        self.limit = limit
        step = np.zeros(rows.size, np.float32)
        for group, bands in rows.frequencies("gain"):
            step[group] = (bands.decibel or 0.0) / rows.scale[group]
        if not step.any():
            raise InputError(
                f"needs frequency bands on a logarithmic scale; those of {', '.join(rows.streams)} have another one. "
                "Use features such as 'log-mel' with scale = \"db\""
            )
        self._step = torch.from_numpy(step)

    def __call__(self, examples: Examples, random: np.random.Generator) -> Examples:
        """Return the examples with other levels."""
        gains = torch.from_numpy(random.uniform(-self.limit, self.limit, len(examples.x)).astype(np.float32))
        change = gains[:, None, None] * self._step * examples.mask[:, :, None]
        return replace(examples, x=examples.x + change)
