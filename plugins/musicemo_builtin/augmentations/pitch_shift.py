"""The `pitch-shift` augmentation."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from musicemo.contracts import Bands, Examples, FeatureRows
from musicemo.errors import InputError

__all__ = ["PitchShift"]


class PitchShift:
    """A transposition of each example by a whole number of semitones.

    The number is uniform from -`limit` to `limit`. Frequency bands get the values at the transposed frequencies,
    interpolated linearly between bands; beyond the lowest and the highest band, those of this band. Pitch classes are
    rotated. Both are what the extractor declares, and are shifted by the same number in the units of the extractor.
    Other rows, such as those of embeddings, are not changed.

    This approximates the features of transposed music: the spectral envelope is shifted too, as by playing a
    recording faster, and frequencies below the resolution of the bands are lost.

    Args:
        limit: Largest number of semitones, up or down.

    Raises:
        InputError: The features declare neither frequency bands nor pitch classes.
    """

    changes = ("key", "pitch")

    def __init__(self, *, rows: FeatureRows, limit: Annotated[int, Field(ge=1, le=12)] = 2) -> None:
        if not rows.bands:
            raise InputError(
                f"needs frequency bands or pitch classes, but the features ({', '.join(rows.streams)}) declare none. "
                "Use features such as 'mel-chroma'"
            )
        self.limit = limit
        self._bands = rows.bands
        self._offset, self._scale = torch.from_numpy(rows.offset), torch.from_numpy(rows.scale)

    def __call__(self, examples: Examples, random: np.random.Generator) -> Examples:
        """Return the transposed examples."""
        semitones = random.integers(-self.limit, self.limit + 1, len(examples.x))
        x = examples.x.clone()
        for shift in sorted({*semitones.tolist()} - {0}):
            rows = torch.from_numpy(np.flatnonzero(semitones == shift))
            for group, bands in self._bands:
                scale, offset = self._scale[group], self._offset[group]
                values = examples.x[rows, :, group] * scale + offset
                x[rows, :, group] = (_shifted(values, bands, shift) - offset) / scale
        return replace(examples, x=x * examples.mask[:, :, None])


def _shifted(values: Tensor, bands: Bands, semitones: int) -> Tensor:
    """Return values `[batch, time, rows]` of music that is transposed."""
    if bands.kind == "pitch-class":
        return values.roll(semitones, dims=2)
    centers = np.array(bands.centers)
    places = torch.from_numpy(np.interp(centers * 2 ** (-semitones / 12), centers, np.arange(len(centers))))
    first = places.floor().long()
    share = (places - first).float()
    return (1 - share) * values[:, :, first] + share * values[:, :, (first + 1).clamp(max=len(centers) - 1)]
