"""Base classes of estimators on statistics of whole tracks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from musicemo.contracts import Estimator, Fitted, Target
from musicemo_builtin.models._statistics import ALL, Statistic, pooled
from musicemo_builtin.models._svm import temperature

__all__ = ["Array", "Machine", "MachineEstimator"]

Array = NDArray[np.floating] | NDArray[np.intp]


class Machine(Fitted):
    """Predicts one target from standardized statistics. Learned values are in its buffers."""

    def __init__(self, target: Target) -> None:
        super().__init__()
        self.target = target

    def fit(self, x: Array, y: Array) -> None:
        """Fit to `x` `[tracks, statistics]` and `y` `[tracks]`: ratings, or class indices."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """Return ratings `[tracks, 1]` or scores `[tracks, classes]`; the largest score is the predicted class."""
        raise NotImplementedError


class MachineEstimator(Estimator):
    """Statistics of each track, standardized over the training set, and one machine per target.

    The logits of a classification are its machine's scores times a factor, which minimizes the cross-entropy of
    predictions in folds of the training set. This calibrates the probabilities and does not change the predicted class.
    A statistic that is constant over the training tracks is ignored.

    Args:
        machines: One machine for each target, in the order of the targets.
        statistics: Names of the statistics of `pooled`.
    """

    def __init__(self, machines: Sequence[Machine], statistics: Sequence[Statistic] = ALL) -> None:
        super().__init__()
        self.statistics = tuple(statistics)
        self.machines = nn.ModuleList(machines)
        for name in ("offset", "scale", "factors"):
            self.register_buffer(name, torch.empty(0))

    offset: Tensor
    scale: Tensor
    factors: Tensor

    def describe(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Return the statistics `[batch, statistics]` of `x` `[batch, time, feature]`."""
        return pooled(x, lengths, self.statistics)

    @torch.no_grad()
    def fit(self, tracks: Iterable[Tensor], targets: Mapping[str, Tensor]) -> None:
        """Fit the standardization, and every target's machine on the tracks that have the target."""
        found = [self.describe(track[None], torch.tensor([len(track)])) for track in tracks]
        statistics = torch.cat(found).double()
        deviation = statistics.std(0, correction=0)
        varies = deviation > 1e-8 * statistics.abs().amax(0).clamp(min=1)
        self.offset = statistics.mean(0).float()
        self.scale = torch.where(varies, 1 / deviation, 0).float()
        x = ((statistics - self.offset) * self.scale).numpy()
        factors = []
        for machine in self._each():
            target = machine.target
            y = targets[target.name].double().numpy()
            known = np.isfinite(y)
            own, labels = x[known], y[known].astype(np.intp)
            factors.append(
                temperature(labels, partial(_scores, machine, own, labels)) if target.classes else 1.0
            )
            machine.fit(own, labels if target.classes else y[known])
        self.factors = torch.tensor(factors)

    def forward(self, x: Tensor, lengths: Tensor, labels: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the machines' predictions."""
        statistics = (self.describe(x, lengths) - self.offset) * self.scale
        found = {}
        for machine, factor in zip(self._each(), self.factors, strict=True):
            scores = machine(statistics)
            found[machine.target.name] = scores * factor if machine.target.classes else scores.squeeze(1)
        return found

    def _each(self) -> list[Machine]:
        return list(self.machines)  # type: ignore[arg-type]  # torch knows them as modules


def _scores(
    machine: Machine,
    x: NDArray[np.floating],
    y: NDArray[np.intp],
    train: NDArray[np.intp],
    rest: NDArray[np.intp],
) -> Tensor:
    machine.fit(x[train], y[train])
    found: Tensor = machine(torch.from_numpy(x[rest]).float())
    return found
