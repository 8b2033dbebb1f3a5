"""Base classes of the weightings that use torchjd's aggregators."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from musicemo.contracts import GradientWeighting
from musicemo.errors import InputError, RunError
from musicemo_builtin.weightings._losses import WeightsByTask, by_task

__all__ = ["Aggregation", "PreferenceAggregation"]


class Aggregation(GradientWeighting):
    """A gradient-based weighting that uses a torchjd aggregator for the tasks with a label in the batch."""

    #: What the aggregator needs beside torchjd.
    requires: ClassVar[tuple[str, ...]] = ()

    def __init__(self, *, tasks: Sequence[str]) -> None:
        super().__init__(tasks=tasks)
        self._torchjd = _aggregators(self.requires)
        self._made: dict[tuple[tuple[str, ...], torch.device, torch.dtype], Any] = {}

    def make(self, torchjd: Any, tasks: Sequence[str], like: Tensor) -> Any:
        """Return the aggregator of `torchjd.aggregation` for gradients of these tasks, of a dtype and device."""
        raise NotImplementedError

    def aggregator(self, gradients: Tensor, tasks: Sequence[str]) -> Any:
        """Return the cached aggregator for these gradients."""
        key = (tuple(tasks), gradients.device, gradients.dtype)
        if key not in self._made:
            self._made[key] = self.make(self._torchjd, tasks, gradients)
        return self._made[key]

    def weigh(self, gradients: Tensor, tasks: Sequence[str]) -> Tensor:
        """Return the aggregator's weights `[tasks]`."""
        weights: Tensor = self.solved(self.aggregator(gradients, tasks).weighting, gradients)
        return weights

    def solved(self, part: Any, gradients: Tensor) -> Any:
        """Return what an aggregator, or its weighting, makes of the gradients.

        Raises:
            RunError: its solver fails.
        """
        try:
            with warnings.catch_warnings():  # cvxpy's of problems that torchjd sets up
                warnings.filterwarnings("ignore", "You are solving a parameterized problem that is not DPP")
                return part(gradients)
        except Exception as error:  # what the solvers behind torchjd raise is theirs
            raise RunError(
                f"weighting {type(self).__name__}: the solver fails on the tasks' gradients (norms "
                f"{', '.join(f'{norm:.3g}' for norm in gradients.norm(dim=1).tolist())}): "
                f"{type(error).__name__}: {error}"
            ) from error


class PreferenceAggregation(Aggregation):
    """An aggregation that can prefer tasks; what it takes is what one without more parameters takes."""

    def __init__(self, *, tasks: Sequence[str], preference: WeightsByTask | None = None) -> None:
        super().__init__(tasks=tasks)
        self.preference: dict[str, float] | None = None
        if preference is not None:
            self.preference = dict(zip(tasks, by_task("preference", preference, tasks), strict=True))

    def preferred(self, tasks: Sequence[str], like: Tensor) -> Tensor | None:
        """Return the preference of these tasks as torchjd takes it; None for its default."""
        return None if self.preference is None else like.new_tensor([self.preference[task] for task in tasks])


def _aggregators(requires: Sequence[str]) -> Any:
    missing = []
    for name in ("torchjd.aggregation", *requires):
        try:
            importlib.import_module(name)
        except ImportError:
            missing.append(name.partition(".")[0])
    if missing:
        raise InputError(f"needs {' and '.join(missing)}, not installed here: pip install 'musicemo[torchjd]'")
    return importlib.import_module("torchjd.aggregation")
