"""Calibration: maps from predictions to the scale of the ratings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from musicemo.evaluation.evaluation import TaskEvaluation, finite

__all__ = ["CALIBRATED", "Calibration", "calibration_report", "fit_calibration"]

Floats = NDArray[np.float64]

#: Metrics that are reported before and after.
CALIBRATED = ("rmse", "mae", "ccc", "spearman")

#: Minimum number of tracks for a fit.
_FEWEST = 5


@dataclass(frozen=True)
class Calibration:
    """A monotone piecewise linear map from predictions to ratings.

    Beyond its points it continues with the same slope (``affine``) or is constant (``isotonic``).
    """

    method: Literal["affine", "isotonic"]
    #: `[points]`, ascending.
    x: Floats
    #: `[points]`, ascending.
    y: Floats

    def __call__(self, predictions: Floats) -> Floats:
        """Return calibrated predictions."""
        if self.method == "affine":
            slope = (self.y[1] - self.y[0]) / (self.x[1] - self.x[0])
            return np.asarray(self.y[0] + slope * (predictions - self.x[0]), dtype=np.float64)
        return np.where(np.isfinite(predictions), np.interp(predictions, self.x, self.y), predictions)

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form that `from_json` reads."""
        return {"method": self.method, "x": self.x.tolist(), "y": self.y.tolist()}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Calibration:
        """Return the calibration that `to_json` wrote."""
        x, y = (np.array(value[name], dtype=np.float64) for name in ("x", "y"))
        if value["method"] not in ("affine", "isotonic") or x.shape != y.shape or not 1 < x.size == len(x):
            raise ValueError("is no calibration")
        return cls(value["method"], x, y)


def fit_calibration(task: TaskEvaluation, method: Literal["affine", "isotonic"]) -> Calibration | str:
    """Fit the map that minimizes the squared error on a set, or return the reason why it cannot be fitted.

    Affine: the line of ordinary least squares, which must rise. Isotonic: the rising step function of R. E.
    Barlow et al., "Statistical Inference under Order Restrictions" (1972), linear between its steps, as in
    `sklearn.isotonic.IsotonicRegression`. A line keeps the order of the tracks; steps can produce ties.

    Args:
        task: a regression on the set to fit on.
        method: the kind of map.
    """
    from sklearn.isotonic import IsotonicRegression
    from sklearn.linear_model import LinearRegression

    defined = np.isfinite(task.prediction)
    prediction, target = task.prediction[defined], task.target[defined]
    if len(prediction) < _FEWEST:
        return f"the validation part has {len(prediction)} tracks; at least {_FEWEST} are needed"
    if np.ptp(prediction) <= 1e-9 * max(1.0, float(np.abs(prediction).max())):
        return "every prediction on the validation part is the same"
    x = np.array([prediction.min(), prediction.max()])
    if method == "affine":
        line = LinearRegression().fit(prediction[:, None], target)
        y = line.predict(x[:, None])
    else:
        steps = IsotonicRegression(out_of_bounds="clip").fit(prediction, target)
        x, y = steps.X_thresholds_, steps.y_thresholds_
    if not y[-1] - y[0] > 1e-9 * max(1.0, float(np.abs(y).max())):
        return "on the validation part, ratings do not rise with the predictions"
    return Calibration(method, np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64))


def calibration_report(task: TaskEvaluation, calibration: Calibration) -> dict[str, Any]:
    """Return ``metric -> {before, after}`` on a set: RMSE, MAE, CCC and Spearman's rho."""
    after = TaskEvaluation("regression", task.ids, task.target, calibration(task.prediction))
    both = {"before": task.metrics(), "after": after.metrics()}
    return {name: {when: finite(scores[name]) for when, scores in both.items()} for name in CALIBRATED}
