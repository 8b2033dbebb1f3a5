"""The `genre-mean` model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

from musicemo.contracts import Estimator, Target
from musicemo.errors import InputError, nearest
from musicemo_builtin.models._averages import averages, by_task

__all__ = ["GenreMean"]


class GenreMean(Estimator):
    """The mean rating and the class and tag frequencies of the training tracks of the same genre.

    A baseline that knows the genre and no features. A model that does not beat it has learned nothing beyond
    the genre. The genre task itself, a track without a genre, and a genre without training tracks get the
    averages over all training tracks. The genre is an input, so the model cannot predict new songs without
    labels.

    Args:
        targets: Targets of the tasks.
        by: Classification task whose label is the input.

    Raises:
        InputError: `by` is not a classification task of the experiment.
    """

    average: Tensor

    def __init__(self, *, targets: Sequence[Target], by: str = "genre") -> None:
        super().__init__()
        self.targets = tuple(targets)
        choices = [target.name for target in targets if target.kind == "classification"]
        if by not in choices:
            listed = ", ".join(choices) or "none"
            raise InputError(
                f"`by` is {by!r}, which is not a classification task{nearest(by, choices)} (classification "
                f"tasks: {listed})"
            )
        self.given = (by,)
        self._genres = next(len(target.classes) for target in targets if target.name == by)
        self.register_buffer("average", torch.empty(0))

    def fit(self, tracks: Iterable[Tensor], targets: Mapping[str, Tensor]) -> None:
        """Average the training targets of each genre, and of all tracks. Features are not read."""
        self.average = torch.stack(
            [averages(self.targets, self._within(genre, targets)) for genre in range(self._genres + 1)]
        )

    def _within(self, genre: int, targets: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Hide the targets of other genres; not the genre itself, nor what has no label within."""
        (by,) = self.given
        by_target = {}
        for name, values in targets.items():
            other = targets[by] != genre
            group_values = values.masked_fill(other if values.dim() == 1 else other[:, None], torch.nan)
            by_target[name] = (
                values if name == by else torch.where(group_values.isfinite().any(0), group_values, values)
            )
        return by_target

    def forward(self, x: Tensor, lengths: Tensor, labels: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the averages of each track's genre."""
        genre = labels[self.given[0]].to(x.device)
        rows = torch.where(genre.isfinite(), genre.nan_to_num(), self._genres).long()
        return by_task(self.average[rows], self.targets)
