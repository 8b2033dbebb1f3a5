"""The `spec-augment` augmentation."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from musicemo.contracts import Examples, FeatureRows

__all__ = ["SpecAugment"]

_Share = Annotated[float, Field(ge=0, le=1)]


class SpecAugment:
    """Masks over time and frequency.

    Each mask has a width from 0 to the largest one and a random position, both uniform. Masks can overlap. Masked
    values are 0, the mean of the training set with ``scaling.method = "standard"``. A time mask covers all rows, a
    frequency mask the bands of an output that its extractor declares as frequencies, at all time steps. The pitch
    classes of a chromagram are not masked.

    D. S. Park, W. Chan, Y. Zhang, C.-C. Chiu, B. Zoph, E. D. Cubuk and Q. V. Le, "SpecAugment: A Simple Data
    Augmentation Method for Automatic Speech Recognition", Interspeech 2019, without its time warping.

    Args:
        time_masks: Number of time masks.
        time_width: Largest width of a time mask, as a share of the example's length.
        frequency_masks: Number of frequency masks of each output.
        frequency_width: Largest width of a frequency mask, as a share of the bands.

    Raises:
        InputError: There are frequency masks, and the features declare no frequency bands.
    """

    def __init__(
        self,
        *,
        rows: FeatureRows,
        time_masks: Annotated[int, Field(ge=0, le=100)] = 2,
        time_width: _Share = 0.1,
        frequency_masks: Annotated[int, Field(ge=0, le=100)] = 2,
        frequency_width: _Share = 0.15,
    ) -> None:
        self._groups = [group for group, _ in rows.frequencies("frequency_masks")] if frequency_masks else []
        self._time = time_masks, time_width
        self._frequency = frequency_masks, frequency_width

    def __call__(self, examples: Examples, random: np.random.Generator) -> Examples:
        """Return the masked examples."""
        masked = _masks(examples.lengths.numpy(), examples.x.shape[1], *self._time, random)
        x = examples.x.masked_fill(masked[:, :, None], 0.0)
        for group in self._groups:
            bands = group.stop - group.start
            masked = _masks(np.full(len(x), bands), bands, *self._frequency, random)
            x[:, :, group] = x[:, :, group].masked_fill(masked[:, None, :], 0.0)
        return replace(examples, x=x)


def _masks(
    lengths: NDArray[np.int64], size: int, count: int, width: float, random: np.random.Generator
) -> Tensor:
    """Return `[batch, size]`: which places are in one of `count` masks within each length."""
    masked = np.zeros((len(lengths), size), dtype=bool)
    places = np.arange(size)
    for _ in range(count):
        widths = random.integers(0, np.floor(width * lengths).astype(np.int64) + 1)
        starts = random.integers(0, lengths - widths + 1)
        masked |= (places >= starts[:, None]) & (places < (starts + widths)[:, None])
    return torch.from_numpy(masked)
