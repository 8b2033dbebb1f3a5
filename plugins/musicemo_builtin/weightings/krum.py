"""The `krum` weighting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from musicemo.errors import InputError
from musicemo_builtin.weightings._torchjd import Aggregation

__all__ = ["Krum"]


class Krum(Aggregation):
    """Mean of the gradients that are closest to most other gradients, without outliers.

    The score of a task is the sum of the distances to the k - b - 2 nearest of k gradients, b -> `n_byzantine`. The
    gradients with the `n_selected` lowest scores are averaged. If fewer than b + 3 or `n_selected` tasks have a label
    in the batch, all gradients are averaged.

    P. Blanchard, E. M. El Mhamdi, R. Guerraoui and J. Stainer, "Machine Learning with Adversaries: Byzantine Tolerant
    Gradient Descent", NeurIPS 2017. There it is used for faulty workers, here for tasks.

    Args:
        tasks: Names of the tasks.
        n_byzantine: Number of gradients that may be outliers.
        n_selected: Number of gradients that are averaged.

    Raises:
        InputError: torchjd is not installed; there are too few tasks.
    """

    def __init__(
        self,
        *,
        tasks: Sequence[str],
        n_byzantine: Annotated[int, Field(ge=0)] = 0,
        n_selected: Annotated[int, Field(ge=1)] = 1,
    ) -> None:
        super().__init__(tasks=tasks)
        self.n_byzantine, self.n_selected = n_byzantine, n_selected
        if len(self.tasks) < max(n_byzantine + 3, n_selected):
            raise InputError(
                f"n_byzantine = {n_byzantine} and n_selected = {n_selected} need "
                f"{max(n_byzantine + 3, n_selected)} tasks or more; there are {len(self.tasks)}"
            )

    def weigh(self, gradients: Tensor, tasks: Sequence[str]) -> Tensor:
        """Return torchjd's weights `[tasks]`; ties are resolved in alphabetical order."""
        order = sorted(range(len(tasks)), key=lambda index: tasks[index])
        sorted_ = super().weigh(gradients[order], [tasks[index] for index in order])
        weights = torch.empty_like(sorted_)
        weights[order] = sorted_
        return weights

    def make(self, torchjd: Any, tasks: Sequence[str], like: Tensor) -> Any:
        """Return torchjd's `Krum`, or its `Mean` for too few tasks."""
        if len(tasks) < max(self.n_byzantine + 3, self.n_selected):
            return torchjd.Mean()
        return torchjd.Krum(self.n_byzantine, self.n_selected)
