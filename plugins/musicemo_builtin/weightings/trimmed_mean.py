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
    """In every parameter the mean of the tasks' gradients without the `trim_number` largest and smallest.

    A batch in which too few tasks have a label for that is averaged as it is. It is no weighting of the gradients of
    which weights could be recorded.

    D. Yin, Y. Chen, K. Ramchandran and P. Bartlett, "Byzantine-Robust Distributed Learning: Towards Optimal
    Statistical Rates", ICML 2018: made for workers that may lie, here for tasks.

    Args:
        tasks: Names of the tasks.
        trim_number: How many are left out on either side.

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
