"""The `mixup` augmentation."""

from __future__ import annotations

from typing import Annotated

import numpy as np
import torch
from pydantic import Field

from musicemo.contracts import Examples

__all__ = ["Mixup"]


class Mixup:
    """The weighted mean of each example and another example of the batch, with the labels of both.

        x = w x[i] + (1 - w) x[j],   loss = w loss(labels[i]) + (1 - w) loss(labels[j]),   w = max(v, 1 - v)

    with v from the distribution Beta(`alpha`, `alpha`), drawn for each batch, and j a random permutation. With w >=
    0.5, example i is the one with the larger weight, whose length the mix has.

    For the cross-entropy of classes and tags and for distributions of ratings, this is the loss of the mixed ("soft")
    label. For the squared error, it differs from it by a constant. For rank correlations, it is the mean correlation
    with the labels of both. If only one of the two has a label of a task, the task learns from this one.

    H. Zhang, M. Cisse, Y. N. Dauphin and D. Lopez-Paz, "mixup: Beyond Empirical Risk Minimization", ICLR 2018.

    Args:
        alpha: Parameter of the distribution: small values give weights near 1, and 1 gives uniform ones.
    """

    def __init__(self, *, alpha: Annotated[float, Field(gt=0, le=100)] = 0.2) -> None:
        self.alpha = alpha

    def __call__(self, examples: Examples, random: np.random.Generator) -> Examples:
        """Return the mixes."""
        drawn = float(random.beta(self.alpha, self.alpha))
        partners = torch.from_numpy(random.permutation(len(examples.x)))
        return examples.mixed(partners, max(drawn, 1 - drawn))
