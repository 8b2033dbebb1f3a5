"""Base classes of estimators on statistics of whole tracks."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from musicemo.contracts import Estimator, Fitted, Target
from musicemo_builtin.models._statistics import ALL, Statistic, pooled
from musicemo_builtin.models._svm import sigmoid_fit, temperature

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

    def margin(self, x: Tensor) -> Tensor:
        """Return `[tracks]`: how clearly a machine for two classes decides for the second."""
        scores: Tensor = self(x)
        return scores[:, 1] - scores[:, 0]


class Tag(Fitted):
    """Predicts one tag by a machine for two classes, whose margin m becomes the logit a m + b; see `sigmoid_fit`.

    If the known training tracks all have the tag, or none does, the logit is log((n[1] + 1) / (n[0] + 1)).
    """

    line: Tensor

    def __init__(self, machine: Machine) -> None:
        super().__init__()
        self.machine = machine
        self.register_buffer("line", torch.empty(0))

    def fit(self, x: NDArray[np.floating], y: NDArray[np.floating]) -> None:
        """Fit to `x` `[tracks, statistics]` and `y` `[tracks]`, which is 1, 0 or NaN."""
        known = np.isfinite(y)
        own, labels = x[known], y[known].astype(np.intp)
        having, without = (int((labels == value).sum()) for value in (1, 0))
        if not having or not without:
            self.line = torch.tensor([0.0, math.log((having + 1) / (without + 1))])
            return
        self.line = torch.tensor(sigmoid_fit(labels, partial(_margins, self.machine, own, labels)))
        self.machine.fit(own, labels)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits `[tracks]`."""
        slope, offset = self.line.unbind()
        return self.machine.margin(x) * slope + offset if slope else offset.expand(len(x))


class MachineEstimator(Estimator):
    """Statistics of each track, standardized over the training set, and one machine per target or tag.

    The logits of a classification are its machine's scores times a factor, which minimizes the cross-entropy of
    predictions in folds of the training set. This calibrates the probabilities and does not change the predicted class.
    Each tag has a machine for two classes; see `Tag`. A statistic that is constant over the training tracks is ignored.

    Args:
        targets: Targets of the tasks.
        make: Returns the machine for a rating or for classes.
        statistics: Names of the statistics of `pooled`.
    """

    def __init__(
        self,
        targets: Sequence[Target],
        make: Callable[[Target], Machine],
        statistics: Sequence[Statistic] = ALL,
    ) -> None:
        super().__init__()
        self.statistics = tuple(statistics)
        self.targets = tuple(targets)
        self.machines = nn.ModuleList(
            nn.ModuleList(
                Tag(make(Target(tag, "classification", classes=("no", "yes")))) for tag in target.classes
            )
            if target.kind == "tags"
            else make(target)
            for target in targets
        )
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
        for target, machine in self._each():
            y = targets[target.name].double().numpy()
            if isinstance(machine, list):
                for tag, column in zip(machine, y.T, strict=True):
                    tag.fit(x, column)
                factors.append(1.0)
                continue
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
        for (target, machine), factor in zip(self._each(), self.factors, strict=True):
            if isinstance(machine, list):
                found[target.name] = torch.stack([tag(statistics) for tag in machine], 1)
                continue
            scores = machine(statistics)
            found[target.name] = scores * factor if target.classes else scores.squeeze(1)
        return found

    def _each(self) -> Iterator[tuple[Target, Machine | list[Tag]]]:
        """Yield each target with its machine, or with one for each of its tags."""
        for target, machine in zip(self.targets, self.machines, strict=True):
            yield target, list(machine) if isinstance(machine, nn.ModuleList) else machine  # type: ignore[arg-type,misc]  # torch knows them as modules


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


def _margins(
    machine: Machine,
    x: NDArray[np.floating],
    y: NDArray[np.intp],
    train: NDArray[np.intp],
    rest: NDArray[np.intp],
) -> Tensor:
    machine.fit(x[train], y[train])
    return machine.margin(torch.from_numpy(x[rest]).float())
