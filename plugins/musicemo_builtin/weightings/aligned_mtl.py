"""The `aligned-mtl` weighting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from torch import Tensor

from musicemo_builtin.weightings._losses import WeightsByTask
from musicemo_builtin.weightings._torchjd import PreferenceAggregation

__all__ = ["AlignedMTL"]


class AlignedMTL(PreferenceAggregation):
    """Mean of the task gradients after making them orthogonal and of equal norm.

        w = sigma V S^(-1/2) V^T p,  G = V S V^T the gradients' Gramian

    with p -> `preference` and sigma^2 the smallest (``"min"``), the median or the mean (``"rmse"``) of the
    eigenvalues S, by `scale_mode`.

    D. Senushkin, N. Patakin, A. Kuznetsov and A. Konushin, "Independent Component Alignment for Multi-Task Learning",
    CVPR 2023.

    Args:
        tasks: Names of the tasks.
        preference: Task -> weight p of its aligned gradient, for every task; default 1 / number of tasks.
        scale_mode: Norm of the aligned gradients.

    Raises:
        InputError: torchjd is not installed; `preference` does not fit the tasks.
    """

    conflict_free = True

    def __init__(
        self,
        *,
        tasks: Sequence[str],
        preference: WeightsByTask | None = None,
        scale_mode: Literal["min", "median", "rmse"] = "min",
    ) -> None:
        super().__init__(tasks=tasks, preference=preference)
        self.scale_mode = scale_mode

    def make(self, torchjd: Any, tasks: Sequence[str], like: Tensor) -> Any:
        """Return torchjd's `AlignedMTL`."""
        return torchjd.AlignedMTL(self.preferred(tasks, like), scale_mode=self.scale_mode)
