"""Predicted distributions of the listeners' ratings: what they score, track by track."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from musicemo.evaluation.metrics import SPREAD, Floats

__all__ = ["SHARES", "Spread"]

#: Probabilities of the central intervals whose coverage is measured.
SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


@dataclass(frozen=True)
class Spread:
    """Scores of the distributions that are predicted for the ratings of each track's listeners."""

    #: `[n]`: predicted standard deviation of the listeners' ratings, in the units of the ratings.
    deviation: NDArray[np.float64]
    #: `[n]`: continuous ranked probability score, in the units of the ratings, and negative log density.
    crps: NDArray[np.float64]
    nll: NDArray[np.float64]
    #: `[n, shares]`: share of the listeners in the central intervals of `SHARES`.
    coverage: NDArray[np.float64]

    def metrics(self) -> dict[str, float]:
        """Return the means over the tracks of the scores in `SPREAD`."""
        return {name: float(getattr(self, name).mean()) if len(self.crps) else np.nan for name in SPREAD}

    def resampled(self, counts: Floats) -> dict[str, Floats]:
        """Return the scores in `SPREAD` of every resample, `[resamples]` each, from counts `[resamples, n]`."""
        return {name: counts @ getattr(self, name) / counts.sum(axis=1) for name in SPREAD}

    def to_json(self) -> dict[str, Any]:
        """Return the mean deviation and the mean coverage over the tracks."""
        return {
            "deviation": float(self.deviation.mean()),
            "coverage": dict(zip(map(str, SHARES), self.coverage.mean(axis=0).tolist(), strict=True)),
        }

    @classmethod
    def joined(cls, spreads: Sequence[Spread]) -> Spread:
        """Return the tracks of several sets, in their order."""
        deviation, crps, nll, coverage = (
            np.concatenate([getattr(one, name) for one in spreads])
            for name in ("deviation", "crps", "nll", "coverage")
        )
        return cls(deviation, crps, nll, coverage)

    def taken(self, order: NDArray[np.intp]) -> Spread:
        """Return some of the tracks, or all in another order."""
        return Spread(self.deviation[order], self.crps[order], self.nll[order], self.coverage[order])
