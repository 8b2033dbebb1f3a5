"""The `graddrop` weighting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field
from torch import Tensor

from musicemo_builtin.weightings._losses import by_task
from musicemo_builtin.weightings._torchjd import Aggregation

__all__ = ["GradDrop"]


class GradDrop(Aggregation):
    """Gradient sign dropout: in each parameter, keep the gradients of one sign, drawn at random by their size.

        P = (1 + sum_t g[t] / sum_t |g[t]|) / 2;  keep the positive g[t] if a uniform draw is below P, else the negative

    for each parameter. `leak` is the share of a task's gradient that is always kept. It is not a weighted sum of the
    gradients, so no weights are recorded.

    Z. Chen, J. Ngiam, Y. Huang, T. Luong, H. Kretzschmar, Y. Chai and D. Anguelov, "Just Pick a Sign: Optimizing Deep
    Multitask Models with Gradient Sign Dropout", NeurIPS 2020.

    Args:
        tasks: Names of the tasks.
        leak: Task -> share from 0 to 1, for every task; default 0.

    Raises:
        InputError: torchjd is not installed; `leak` does not fit the tasks.
    """

    stochastic = True

    def __init__(
        self, *, tasks: Sequence[str], leak: dict[str, Annotated[float, Field(ge=0, le=1)]] | None = None
    ) -> None:
        super().__init__(tasks=tasks)
        self.leak = dict(zip(self.tasks, by_task("leak", leak, self.tasks, 0.0, sign=False), strict=True))

    def make(self, torchjd: Any, tasks: Sequence[str], like: Tensor) -> Any:
        """Return torchjd's `GradDrop`."""
        return torchjd.GradDrop(leak=like.new_tensor([self.leak[task] for task in tasks]))

    def aggregate(self, gradients: Tensor, tasks: Sequence[str]) -> Tensor:
        """Return the direction `[parameters]`."""
        direction: Tensor = self.solved(self.aggregator(gradients, tasks), gradients)
        return direction
