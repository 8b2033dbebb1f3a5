"""The `imtl-g` weighting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from musicemo_builtin.weightings._torchjd import Aggregation

__all__ = ["IMTLG"]


class IMTLG(Aggregation):
    """The weighted sum of gradients that has the same projection on each of them.

        u[i] . sum_t w[t] g[t] equal for all i,  sum_t w[t] = 1,  u[t] = g[t] / |g[t]|

    Scaling a task's loss changes neither the way nor, as the weights sum to 1, much else, but can turn the way round:
    where the solution of the first equation sums to less than 0, the second makes every loss rise. Weights may be
    negative, and grow without bound where the gradients become dependent.

    L. Liu, Y. Li, Z. Kuang, J.-H. Xue, Y. Chen, W. Yang, Q. Liao and W. Zhang, "Towards Impartial Multi-Task
    Learning", ICLR 2021; in torchjd's form, with a pseudoinverse.

    Args:
        tasks: Names of the tasks.

    Raises:
        InputError: torchjd is not installed.
    """

    scale_invariant = True

    def make(self, torchjd: Any, tasks: Sequence[str], like: Tensor) -> Any:
        """Return torchjd's `IMTLG`."""
        return torchjd.IMTLG()
