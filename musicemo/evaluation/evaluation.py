"""What a model made of a part: predictions in the targets' own units, and their metrics."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from musicemo.evaluation.intervals import EvaluationSettings, percentile_intervals
from musicemo.evaluation.metrics import CLASSIFICATION, REGRESSION, classification, regression
from musicemo.evaluation.resampling import draw_counts, resampled_classification, resampled_regression

__all__ = ["Evaluation", "TaskEvaluation"]


@dataclass(frozen=True)
class TaskEvaluation:
    """One task on one part; only tracks whose target is known."""

    kind: Literal["regression", "classification"]
    ids: Sequence[str]
    #: `[n]`: ratings in their own units, or class indices.
    target: NDArray[Any]
    #: Like `target`; for classification the most probable class.
    prediction: NDArray[Any]
    classes: Sequence[str] = ()
    #: Classification: `[n, classes]`.
    probabilities: NDArray[np.float64] | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The task's metrics, the leading one first."""
        return REGRESSION if self.kind == "regression" else CLASSIFICATION

    def metrics(self) -> dict[str, Any]:
        """Return the metrics; for classification also ``per_class`` and ``confusion_matrix``."""
        return dict(self._metrics)

    @cached_property
    def _metrics(self) -> dict[str, Any]:
        if self.kind == "regression":
            return {name: float(value) for name, value in regression(self.prediction, self.target).items()}
        return classification(self.prediction, self.target, self.classes)

    def metric(self, name: str) -> float:
        """Return one of the metrics."""
        return float(self._metrics[name])

    def intervals(self, settings: EvaluationSettings) -> dict[str, tuple[float, float]]:
        """Return each metric's bootstrap interval; NaN bounds where there are fewer than two tracks."""
        return percentile_intervals(self.resampled(settings.resamples), settings.confidence)

    def resampled(
        self, resamples: int, names: Sequence[str] | None = None, stream: int = 0
    ) -> dict[str, NDArray[np.float64]]:
        """Return metrics of the tracks drawn again with replacement: `[resamples]` each, NaN where not defined.

        Two evaluations of the same number of tracks, in the same order, are resampled alike, so that their
        differences are paired.

        Args:
            resamples: how many.
            names: the metrics; all where absent.
            stream: another number draws independently.
        """
        names = self.names if names is None else names
        if len(self.target) < 2:
            return {name: np.full(resamples, np.nan) for name in names}
        found = [
            resampled_regression(self.prediction, self.target, counts, names)
            if self.kind == "regression"
            else resampled_classification(self.prediction, self.target, len(self.classes), counts, names)
            for counts in draw_counts(len(self.target), resamples, stream)
        ]
        return {name: np.concatenate([some[name] for some in found]) for name in names}

    def to_json(self, settings: EvaluationSettings) -> dict[str, Any]:
        """Return ``metric -> {value, low, high}`` and the rest of `metrics`; what is not defined is null."""
        intervals = self.intervals(settings)
        found: dict[str, Any] = {"tracks": len(self.target)}
        for name, value in self.metrics().items():
            if name in intervals:
                low, high = intervals[name]
                found[name] = {"value": finite(value), "low": finite(low), "high": finite(high)}
            else:
                found[name] = value
        return found


@dataclass(frozen=True)
class Evaluation:
    """Every task on one part."""

    tasks: Mapping[str, TaskEvaluation] = field(default_factory=dict)

    def to_json(self, settings: EvaluationSettings) -> dict[str, Any]:
        """Return ``task -> metric -> {value, low, high}``."""
        return {name: task.to_json(settings) for name, task in self.tasks.items()}


def finite(value: float) -> float | None:
    """Return the value, or None where it is not finite, since JSON has no name for that."""
    return value if math.isfinite(value) else None
