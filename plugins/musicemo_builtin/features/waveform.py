"""The samples themselves."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from musicemo.contracts import Extraction, Output

__all__ = ["Waveform"]


class Waveform:
    """The mono samples at a sample rate, for models with a front end of their own.

    Output: `samples` `[samples, 1]`, from -1 to 1; one time step is one sample.

    Args:
        sample_rate: Sample rate, in Hz.
    """

    fingerprint = "waveform 1"

    def __init__(self, *, sample_rate: Annotated[int, Field(gt=0)] = 22050) -> None:
        self.sample_rate = sample_rate
        self.outputs = {"samples": 1}

    def extract(self, samples: NDArray[np.float32], outputs: Collection[str]) -> Extraction:
        """Return a copy of the samples."""
        return Extraction({"samples": Output.regular(samples[:, None].copy(), 1 / self.sample_rate)})
