"""The `time-stretch` augmentation."""

from __future__ import annotations

import math
from typing import Annotated

import numpy as np
import torch
from pydantic import Field

from musicemo.contracts import Examples, FeatureRows
from musicemo.errors import InputError

__all__ = ["TimeStretch"]


class TimeStretch:
    """A change of speed of each example, without a change of pitch.

    The speed is log-uniform from 1 / (1 + `limit`) to 1 + `limit`. Features are interpolated linearly along time,
    which approximates the features of music at another tempo: transients are stretched too.

    A listener hears another tempo. Labels of `tempo` and `energy` are declared not to survive. Ratings of arousal and
    danceability also depend on the tempo: keep `limit` small, or leave these tasks out of ``tasks``.

    Args:
        limit: Largest increase of the speed, as a share.

    Raises:
        InputError: The features have a time step for each beat or track, which does not depend on the tempo.
    """

    aligned = False
    changes = ("tempo", "energy")

    def __init__(self, *, rows: FeatureRows, limit: Annotated[float, Field(gt=0, le=1)] = 0.1) -> None:
        timed = {
            stream: grid for stream, grid in rows.grids.items() if grid != "track"
        }  # others repeat a vector
        for stream, grid in (timed or rows.grids).items():
            if grid in ("beat", "track"):
                raise InputError(
                    f'{stream!r} has one time step per {grid}, at any tempo. Use features.grid = "frame" or "segment"'
                )
        self.limit = limit

    def __call__(self, examples: Examples, random: np.random.Generator) -> Examples:
        """Return the stretched examples."""
        bound = math.log1p(self.limit)
        speeds = np.exp(random.uniform(-bound, bound, len(examples.x)))
        before = examples.lengths
        lengths = torch.from_numpy(np.maximum(1, np.rint(before.numpy() / speeds)).astype(np.int64))
        steps = torch.arange(int(lengths.max()))
        # The middle of a step, in steps before: both begin and end at the same times.
        places = (steps + 0.5) * (before / lengths)[:, None] - 0.5
        places = torch.minimum(places.clamp(min=0), (before - 1)[:, None])
        first = places.floor().long()
        second = torch.minimum(first + 1, (before - 1)[:, None])
        share = (places - first)[:, :, None]
        rows = torch.arange(len(examples.x))[:, None]
        x = (1 - share) * examples.x[rows, first] + share * examples.x[rows, second]
        return Examples(x * (steps < lengths[:, None])[:, :, None], lengths, examples.labels)
