"""The `imtl-g` weighting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from musicemo_builtin.weightings._torchjd import Aggregation

__all__ = ["IMTLG"]


class IMTLG(Aggregation):
    """Weighted sum of the gradients with equal projection on each gradient.

        u[i] . sum_t w[t] g[t] equal for all i,  sum_t w[t] = 1,  u[t] = g[t] / |g[t]|

    Scaling the loss of a task does not change the line of the direction, but can reverse it: if the solution of
    the first equation sums to less than 0, the second equation makes every loss rise. Weights can be negative,
    and grow without bound if the gradients become linearly dependent.

    L. Liu, Y. Li, Z. Kuang, J.-H. Xue, Y. Chen, W. Yang, Q. Liao and W. Zhang, "Towards Impartial Multi-Task
    Learning", ICLR 2021; in the form of torchjd, with a pseudoinverse.

    Args:
        tasks: Names of the tasks.

    Raises:
        InputError: torchjd is not installed.
    """

    scale_invariant = True

    def make(self, torchjd: Any, tasks: Sequence[str], like: Tensor) -> Any:
        """Return torchjd's `IMTLG`."""
        return torchjd.IMTLG()
