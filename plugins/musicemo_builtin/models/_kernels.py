"""Kernels between tracks, on descriptors that are vectors. Fitted values are in buffers."""

from __future__ import annotations

import torch
from torch import Tensor

from musicemo.contracts import Fitted

__all__ = ["Kernel", "NormalKernel", "StandardizedKernel", "VectorKernel"]


class Kernel(Fitted):
    """k(a, b) = exp(-gamma d(a, b) / s) between tracks and the training tracks, with fitted s.

    Args:
        gamma: Rate of decay.
    """

    points: Tensor
    scale: Tensor

    def __init__(self, gamma: float) -> None:
        super().__init__()
        self.gamma = gamma
        self.register_buffer("points", torch.empty(0))
        self.register_buffer("scale", torch.ones(()))

    def fit(self, x: Tensor) -> None:
        """Store the training tracks' descriptors `[tracks, size]`; s is the median of their distances."""
        self.points = x
        distances = self.distance(x)
        above = torch.triu_indices(len(x), len(x), 1)
        median = distances[above[0], above[1]].median() if len(x) > 1 else torch.ones(())
        self.scale = median.clamp(min=1e-12)

    def distance(self, x: Tensor) -> Tensor:
        """Return d between `x` `[tracks, size]` and each of the points: `[tracks, points]`."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """Return k between `x` `[tracks, size]` and each of the training tracks: `[tracks, points]`."""
        return torch.exp(-self.gamma * self.distance(x) / self.scale)


class VectorKernel(Kernel):
    """d is the squared Euclidean distance."""

    def distance(self, x: Tensor) -> Tensor:
        return _squared(x, self.points)


class StandardizedKernel(Kernel):
    """d is the squared distance of standardized statistics, limited to 4 deviations, and s their number."""

    offset: Tensor
    deviation: Tensor

    def __init__(self, gamma: float) -> None:
        super().__init__(gamma)
        self.register_buffer("offset", torch.empty(0))
        self.register_buffer("deviation", torch.empty(0))

    def fit(self, x: Tensor) -> None:
        self.offset = x.mean(0)
        deviation = x.std(0, correction=0)
        varies = deviation > 1e-6 * x.abs().amax(0).clamp(min=1)
        self.deviation = torch.where(varies, deviation, torch.inf)
        self.points = self._standardized(x)
        self.scale = varies.sum().clamp(min=1).to(x.dtype)

    def distance(self, x: Tensor) -> Tensor:
        return _squared(self._standardized(x), self.points)

    def _standardized(self, x: Tensor) -> Tensor:
        return ((x - self.offset) / self.deviation).clamp(-4, 4)


class NormalKernel(Kernel):
    """d is the Bhattacharyya distance of two normal distributions.

    With means m and covariances C:

        d(a, b) = 1/8 (m_a - m_b)^T C^-1 (m_a - m_b) + 1/2 log(|C| / sqrt(|C_a| |C_b|)),   C = (C_a + C_b) / 2

    so that with gamma / s = 1 the kernel is their Bhattacharyya coefficient.

    A. Bhattacharyya, "On a Measure of Divergence between Two Statistical Populations Defined by Their Probability
    Distributions", Bulletin of the Calcutta Mathematical Society, 1943; M. I. Mandel, D. P. W. Ellis, "Song-Level
    Features and Support Vector Machines for Music Classification", ISMIR 2005, with another divergence.
    """

    def distance(self, x: Tensor) -> Tensor:
        if x is self.points:  # half of it is the other half
            rows = [self._from(index, x[: index + 1]) for index in range(len(x))]
            lower = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
            return lower + lower.tril(-1).T
        return torch.stack([_bhattacharyya(track, self.points) for track in x])

    def _from(self, index: int, others: Tensor) -> Tensor:
        return _bhattacharyya(self.points[index], others)


def _squared(x: Tensor, points: Tensor) -> Tensor:
    return torch.cdist(x, points, compute_mode="donot_use_mm_for_euclid_dist").square()


def _bhattacharyya(track: Tensor, others: Tensor) -> Tensor:
    """Return the distances `[others]` of a distribution from others, each a mean and a covariance `[size + size^2]`."""
    size = int(((4 * len(track) + 1) ** 0.5 - 1) / 2)
    means, covariances = others[:, :size], others[:, size:].reshape(-1, size, size)
    mean, covariance = track[:size], track[size:].reshape(size, size)
    factor = torch.linalg.cholesky((covariance + covariances) / 2)
    whitened = torch.linalg.solve_triangular(factor, (mean - means)[:, :, None], upper=False)
    halves = (_log_determinant(covariance[None]) + _log_determinant(covariances)) / 2
    determinant = 2 * factor.diagonal(dim1=1, dim2=2).log().sum(1)
    distance: Tensor = whitened.square().sum((1, 2)) / 8 + (determinant - halves) / 2
    return distance.clamp(min=0)


def _log_determinant(covariances: Tensor) -> Tensor:
    factor: Tensor = torch.linalg.cholesky(covariances)
    return 2 * factor.diagonal(dim1=1, dim2=2).log().sum(1)
