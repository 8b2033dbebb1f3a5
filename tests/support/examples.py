"""Examples of a training batch, and the feature rows that they have."""

import numpy as np
import torch

from musicemo.contracts import Bands, Examples, FeatureRows, Labels

#: Six frequency bands, then twelve pitch classes.
MEL, SIZE = 6, 18


def rows() -> FeatureRows:
    centers = tuple(100.0 * 2 ** (band / 2) for band in range(MEL))
    bands = [
        (slice(0, MEL), Bands("frequency", centers, decibel=1.0)),
        (slice(MEL, SIZE), Bands("pitch-class")),
    ]
    ones = np.ones(SIZE, np.float32)
    return FeatureRows(SIZE, {"mel-chroma": slice(0, SIZE)}, bands, {"mel-chroma": "frame"}, 0 * ones, ones)


def examples(lengths) -> Examples:
    """Return examples with values from 1 to 2."""
    x = 1 + torch.rand(len(lengths), max(lengths), SIZE, generator=torch.Generator().manual_seed(0))
    some = Examples(x, torch.tensor(lengths), [Labels(1.0, torch.arange(len(lengths)))])
    return Examples(x * some.mask[:, :, None], some.lengths, some.labels)
