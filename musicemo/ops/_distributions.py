"""Distributions of the listeners' ratings of a track, from the outputs of a head."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

__all__ = ["Distribution", "Gaussian", "Levels", "distribution_of"]


@dataclass(frozen=True)
class Gaussian:
    """A normal distribution: the mean, and a deviation through softplus, which is at least `smallest`."""

    type: ClassVar[str] = "gaussian"
    #: Number of outputs of a head.
    outputs: ClassVar[int] = 2
    #: Smallest standard deviation, as a share of the range of the ratings.
    smallest: float = 0.01

    def mean(self, outputs: Tensor) -> Tensor:
        """Return the point prediction `[...]`, from outputs `[..., 2]`."""
        return outputs[..., 0]

    def deviation(self, outputs: Tensor) -> Tensor:
        """Return the standard deviation `[...]`."""
        return self.smallest + torch.nn.functional.softplus(outputs[..., 1])

    def nll(self, outputs: Tensor, ratings: Tensor) -> Tensor:
        """Return the negative log density of the ratings, the mean over each track's listeners, `[tracks]`.

        Args:
            outputs: `[tracks, 2]`.
            ratings: `[tracks, listeners]` in [0, 1], NaN where there are fewer; at least one each.
        """
        deviation = self.deviation(outputs)[:, None]
        standard = (_filled(ratings) - self.mean(outputs)[:, None]) / deviation
        return _over_listeners(standard**2 / 2 + deviation.log() + math.log(2 * math.pi) / 2, ratings)

    def crps(self, outputs: Tensor, ratings: Tensor) -> Tensor:
        """Return the continuous ranked probability score, the mean over each track's listeners, `[tracks]`.

        T. Gneiting and A. E. Raftery, "Strictly Proper Scoring Rules, Prediction, and Estimation", Journal of the
        American Statistical Association 102, 2007.
        """
        deviation = self.deviation(outputs)[:, None]
        standard = (_filled(ratings) - self.mean(outputs)[:, None]) / deviation
        density = torch.exp(-(standard**2) / 2) / math.sqrt(2 * math.pi)
        below = torch.special.ndtr(standard)
        scores = deviation * (standard * (2 * below - 1) + 2 * density - 1 / math.sqrt(math.pi))
        return _over_listeners(scores, ratings)

    def coverage(self, outputs: Tensor, ratings: Tensor, shares: Sequence[float]) -> Tensor:
        """Return the share of each track's listeners in the central intervals, `[tracks, shares]`."""
        below = torch.special.ndtr(
            (_filled(ratings) - self.mean(outputs)[:, None]) / self.deviation(outputs)[:, None]
        )
        inside = [((below - 0.5).abs() <= share / 2).to(outputs.dtype) for share in shares]
        return torch.stack([_over_listeners(one, ratings) for one in inside], dim=1)

    def constant(self, ratings: Tensor) -> Tensor:
        """Return the outputs `[2]` of the best prediction that is the same for all tracks."""
        listeners = ratings[ratings.isfinite()].double()
        deviation = listeners.std(correction=0).clamp(min=2 * self.smallest) - self.smallest
        return torch.stack([listeners.mean(), torch.expm1(deviation).log()]).to(ratings.dtype)

    def to_json(self) -> dict[str, Any]:
        """Return the form that `distribution_of` reads."""
        return {"type": self.type, "smallest": self.smallest}


@dataclass(frozen=True)
class Levels:
    """Probabilities of equally spaced ratings, the softmax of the outputs.

    A rating between two levels counts for both, in proportion to its nearness, so that means are kept.
    """

    type: ClassVar[str] = "levels"
    #: Number of levels, from the lowest rating to the highest.
    levels: int

    @property
    def outputs(self) -> int:
        """Number of outputs of a head."""
        return self.levels

    def grid(self, like: Tensor) -> Tensor:
        """Return the levels in [0, 1], `[levels]`."""
        return torch.linspace(0, 1, self.levels, dtype=like.dtype, device=like.device)

    def shares(self, ratings: Tensor) -> Tensor:
        """Return the share of each track's listeners at each level, `[tracks, levels]`."""
        near = 1 - (_filled(ratings).clamp(0, 1)[..., None] - self.grid(ratings)).abs() * (self.levels - 1)
        return _over_listeners(near.clamp(min=0), ratings)

    def mean(self, outputs: Tensor) -> Tensor:
        """Return the point prediction `[...]`, from outputs `[..., levels]`."""
        return outputs.softmax(dim=-1) @ self.grid(outputs)

    def deviation(self, outputs: Tensor) -> Tensor:
        """Return the standard deviation `[...]`."""
        apart = self.grid(outputs) - self.mean(outputs)[..., None]
        return (outputs.softmax(dim=-1) * apart**2).sum(dim=-1).sqrt()

    def nll(self, outputs: Tensor, ratings: Tensor) -> Tensor:
        """Return the negative log density of the ratings, the mean over each track's listeners, `[tracks]`.

        The density of a level is its probability divided by the distance of two levels.

        Args:
            outputs: `[tracks, levels]`.
            ratings: `[tracks, listeners]` in [0, 1], NaN where there are fewer; at least one each.
        """
        cross_entropy = -(self.shares(ratings) * outputs.log_softmax(dim=-1)).sum(dim=-1)
        return cross_entropy - math.log(self.levels - 1)

    def crps(self, outputs: Tensor, ratings: Tensor) -> Tensor:
        """Return the continuous ranked probability score, the mean over each track's listeners, `[tracks]`."""
        probabilities, grid = outputs.softmax(dim=-1), self.grid(outputs)
        distances = (grid[:, None] - grid).abs()
        spread = torch.einsum("nk,kl,nl->n", probabilities, distances, probabilities) / 2
        return torch.einsum("nk,kl,nl->n", probabilities, distances, self.shares(ratings)) - spread

    def coverage(self, outputs: Tensor, ratings: Tensor, shares: Sequence[float]) -> Tensor:
        """Return the share of each track's listeners in the central intervals, `[tracks, shares]`.

        Of a level that lies partly in an interval, the listeners at it count in proportion: C. Czado, T. Gneiting and
        L. Held, "Predictive Model Assessment for Count Data", Biometrics 65, 2009.
        """
        probabilities = outputs.softmax(dim=-1)
        high = probabilities.cumsum(dim=-1)
        low = high - probabilities
        inside = []
        for share in shares:
            ends = (1 - share) / 2, (1 + share) / 2
            within = (high.clamp(*ends) - low.clamp(*ends)) / probabilities.clamp(min=1e-12)
            inside.append((self.shares(ratings) * within).sum(dim=-1))
        return torch.stack(inside, dim=1)

    def constant(self, ratings: Tensor) -> Tensor:
        """Return the outputs `[levels]` of the best prediction that is the same for all tracks.

        A level without any rating has half of one.
        """
        listeners = ratings[ratings.isfinite()][:, None]
        return self.shares(listeners).sum(dim=0).clamp(min=0.5).log()

    def to_json(self) -> dict[str, Any]:
        """Return the form that `distribution_of` reads."""
        return {"type": self.type, "levels": self.levels}


#: A distribution of the listeners' ratings of a track.
Distribution = Gaussian | Levels


def distribution_of(table: Mapping[str, Any]) -> Distribution:
    """Return the distribution that `to_json` described.

    Raises:
        KeyError: there is no such distribution, or a parameter is missing.
    """
    if table["type"] == Gaussian.type:
        return Gaussian(smallest=float(table["smallest"]))
    return {Levels.type: Levels}[table["type"]](int(table["levels"]))


def _filled(ratings: Tensor) -> Tensor:
    """Return the ratings with zeros instead of NaN."""
    return ratings.nan_to_num(nan=0.0)


def _over_listeners(values: Tensor, ratings: Tensor) -> Tensor:
    """Return the mean over the listeners, the second dimension of `values`, who have rated the track."""
    present = ratings.isfinite().to(values.dtype)
    weights = present / present.sum(dim=1, keepdim=True)
    return torch.einsum("nl,nl...->n...", weights, values)
