"""The `trimmed-mean` weighting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field
from torch import Tensor

from musicemo.errors import InputError
from musicemo_builtin.weightings._torchjd import Aggregation

__all__ = ["TrimmedMean"]


class TrimmedMean(Aggregation):
    """Mean of the task gradients in each parameter, without the `trim_number` largest and smallest values.

    If too few tasks have a label in the batch, all gradients are averaged. It is not a weighted sum of the
    gradients, so no weights are recorded.

    D. Yin, Y. Chen, K. Ramchandran and P. Bartlett, "Byzantine-Robust Distributed Learning: Towards Optimal
    Statistical Rates", ICML 2018. There it is used for faulty workers, here for tasks.

    Args:
        tasks: Names of the tasks.
        trim_number: Number of values removed at each end.

    Raises:
        InputError: torchjd is not installed; there are too few tasks.
    """

    def __init__(self, *, tasks: Sequence[str], trim_number: Annotated[int, Field(ge=0)] = 1) -> None:
        super().__init__(tasks=tasks)
        self.trim_number = trim_number
        if len(self.tasks) <= 2 * trim_number:
            raise InputError(
                f"trim_number = {trim_number} needs {2 * trim_number + 1} tasks or more; "
                f"there are {len(self.tasks)}"
            )

    def make(self, torchjd: Any, tasks: Sequence[str], like: Tensor) -> Any:
        """Return torchjd's `TrimmedMean`, or its `Mean` for too few tasks."""
        return torchjd.TrimmedMean(self.trim_number) if len(tasks) > 2 * self.trim_number else torchjd.Mean()

    def aggregate(self, gradients: Tensor, tasks: Sequence[str]) -> Tensor:
        """Return the direction `[parameters]`."""
        direction: Tensor = self.solved(self.aggregator(gradients, tasks), gradients)
        return direction
