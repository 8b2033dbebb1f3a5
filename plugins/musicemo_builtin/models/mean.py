"""The `mean` model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

from musicemo.contracts import Estimator, Target
from musicemo_builtin.models._averages import averages, by_task

__all__ = ["Mean"]


class Mean(Estimator):
    """The mean rating and the class and tag frequencies of the training set: a baseline that every model must beat.

    Of ratings over time, it predicts the mean of all ratings at every time step.

    The logits of a classification are log((n[c] + 1) / (n + m)) for n[c] of the n training tracks in class c of m, that
    of a tag is log((n[1] + 1) / (n[0] + 1)) for n[1] training tracks with the tag and n[0] without it.

    Args:
        targets: Targets of the tasks.
    """

    kinds = (*Estimator.kinds, "series")
    average: Tensor

    def __init__(self, *, targets: Sequence[Target]) -> None:
        super().__init__()
        self.targets = tuple(targets)
        self.register_buffer("average", torch.empty(0))

    def fit(self, tracks: Iterable[Tensor], targets: Mapping[str, Tensor]) -> None:
        """Average the training targets. Features are not read."""
        self.average = averages(self.targets, targets)

    def forward(self, x: Tensor, lengths: Tensor, labels: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the same prediction for every track."""
        values = by_task(self.average.expand(x.shape[0], -1), self.targets)
        for target in self.targets:
            if target.kind == "series":
                values[target.name] = values[target.name][:, None].expand(-1, x.shape[1])
        return values
