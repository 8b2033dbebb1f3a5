"""The `multi-kernel` model."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from musicemo.contracts import Estimator, Target
from musicemo.errors import InputError, nearest
from musicemo_builtin.models._descriptors import DESCRIPTORS, MELS, PITCH_CLASSES, describe
from musicemo_builtin.models._kernels import Kernel, NormalKernel, StandardizedKernel, VectorKernel
from musicemo_builtin.models._svm import class_scores, pairwise, temperature

__all__ = ["MultiKernel"]

_log = logging.getLogger(__name__)

Positive = Annotated[float, Field(gt=0)]
Weights = Annotated[dict[str, Positive], Field(min_length=1)]
Indices = NDArray[np.intp]

_REGRESSION = {"statistics": 2.0, "timbre": 1.0, "bands": 1.0}
_CLASSIFICATION = {"statistics": 1.0, "timbre": 1.0, "bands": 1.0, "normal": 2.0}


class MultiKernel(Estimator):
    """Kernel ridge regression and support vector classification with a weighted mean of kernels on whole tracks.

    Each kernel compares two tracks by a descriptor:

    - ``statistics``: some 670 standardized numbers that describe the spectrum's shape, modulation, harmonic and
      percussive parts, and the chroma;
    - ``timbre`` and ``bands``: distributions of cepstral coefficients and of mel bands, with their slopes at several
      scales, compared by log-Euclidean distance;
    - ``normal``: the distribution of cepstral coefficients and slopes, compared by Bhattacharyya distance.

    With k[j] = exp(-gamma[j] d[j]) and weights w, where d[j] is relative to the median distance of the training tracks
    (for ``statistics``, to the number of statistics):

        k(a, b) = sum_j w[j] k[j](a, b) / sum_j w[j]
        ratings: f(a) = sum_i c[i] k(a, i) + mean(y),   c = (K + alpha I)^-1 (y - mean(y))

    over the training tracks i. Classes are predicted by support vector machines as in `svr`, with calibrated
    logits. The model needs both mel spectrogram and chromagram, unscaled: ``features = "fused"``, ``scaling = {
    method = "none" }``.

    G. R. G. Lanckriet and others, "Learning the Kernel Matrix with Semidefinite Programming", JMLR, 2004, for weighted
    sums of kernels. Deviation: the weights are parameters and are not learned.

    Args:
        input_size: Number of feature rows.
        targets: Targets of the tasks.
        alpha: L2 penalty of a regression.
        C: Bound of a classification's coefficients.
        regression: Kernel -> weight for ratings.
        classification: Kernel -> weight for classes.
        gamma: Kernel -> rate of decay; by default 0.8 (``statistics``), 1.5 (``timbre``, ``bands``) and 3 (``normal``).

    Raises:
        InputError: The features are not mel spectrogram and chromagram, or a kernel name is unknown.
    """

    coefficients: Tensor
    intercepts: Tensor
    factors: Tensor

    def __init__(
        self,
        *,
        input_size: int,
        targets: Sequence[Target],
        alpha: Positive = 0.2,
        C: Positive = 3.0,
        regression: Weights = _REGRESSION,
        classification: Weights = _CLASSIFICATION,
        gamma: dict[str, Positive] = {},  # noqa: B006  # the default of a table, which nobody changes
    ) -> None:
        super().__init__()
        if input_size != MELS + PITCH_CLASSES:
            raise InputError(
                f"needs {MELS} rows of a mel spectrogram and {PITCH_CLASSES} of a chromagram, not {input_size} rows. "
                'Set features = "fused" in [dataset]'
            )
        for table, named in (("regression", regression), ("classification", classification), ("gamma", gamma)):
            for name in named:
                if name not in DESCRIPTORS:
                    listed = ", ".join(DESCRIPTORS)
                    raise InputError(
                        f"`{table}`: unknown kernel {name!r}{nearest(name, DESCRIPTORS)} (kernels: {listed})"
                    )
        self.targets = tuple(targets)
        self.alpha, self.C = alpha, C
        kinds = {target.kind for target in targets}
        given = {"regression": regression, "classification": classification}
        self.weights = {kind: _normalized(given[kind]) for kind in given if kind in kinds}
        used = [name for name in DESCRIPTORS if any(name in weights for weights in self.weights.values())]
        self.kernels = nn.ModuleDict({name: _make_kernel(name, gamma) for name in used})
        for name in ("coefficients", "intercepts", "factors"):
            self.register_buffer(name, torch.empty(0))
        for index, target in enumerate(self.targets):
            if target.classes:
                self.register_buffer(f"classes{index}", torch.empty(0, dtype=torch.int64))

    @torch.no_grad()
    def fit(self, tracks: Iterable[Tensor], targets: Mapping[str, Tensor]) -> None:
        """Describe the tracks, and fit every target to those that have it."""
        found, highest = [], -np.inf
        for track in tracks:
            found.append(describe(track.numpy()))
            highest = max(highest, float(track[:, :MELS].max()))
        if highest > 0:
            _log.warning(
                f"the mel spectrogram reaches {highest:.3g}, but decibels relative to the maximum are at most 0. The "
                'features seem to be scaled. Set scaling = { method = "none" }'
            )
        described = {name: _matrix([one[name] for one in found]) for name in self.kernels}
        for name, kernel in self._each():
            kernel.fit(described[name])
        mixed = self._mixed(described)
        coefficients, intercepts, factors = [], [], []
        for index, target in enumerate(self.targets):
            values = targets[target.name].double()
            known = np.flatnonzero(values.isfinite().numpy())
            gram, y = mixed[target.kind].double()[known][:, known], values[known]
            if target.classes:
                labels = y.numpy().astype(np.intp)
                factors.append(temperature(labels, partial(self._scores, gram, labels, len(target.classes))))
                own, intercept, classes = self._classifier(gram, labels)
                setattr(self, f"classes{index}", classes)
            else:
                intercept = y.mean()[None]
                own = torch.linalg.solve(gram + self.alpha * torch.eye(len(known)), (y - intercept)[:, None])
                factors.append(1.0)
            coefficients.append(
                own.new_zeros(len(values), own.shape[1]).index_copy(0, torch.from_numpy(known), own)
            )
            intercepts.append(intercept)
        self.coefficients = torch.cat(coefficients, 1).float()
        self.intercepts = torch.cat(intercepts).float()
        self.factors = torch.tensor(factors)

    def forward(self, x: Tensor, lengths: Tensor, labels: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return ratings and logits."""
        tracks = [track[:length] for track, length in zip(x.cpu().numpy(), lengths.tolist(), strict=True)]
        found = [describe(track) for track in tracks]
        described = {name: _matrix([one[name] for one in found]).to(x.device) for name in self.kernels}
        mixed = self._mixed(described)
        predictions, column = {}, 0
        for index, target in enumerate(self.targets):
            classes = getattr(self, f"classes{index}") if target.classes else None
            width = 1 if classes is None else len(classes) * (len(classes) - 1) // 2
            columns = slice(column, column + width)
            decisions = mixed[target.kind] @ self.coefficients[:, columns] + self.intercepts[columns]
            predictions[target.name] = (
                decisions.squeeze(1)
                if classes is None
                else class_scores(decisions, classes, len(target.classes)) * self.factors[index]
            )
            column += width
        return predictions

    def _each(self) -> list[tuple[str, Kernel]]:
        return list(self.kernels.items())  # type: ignore[arg-type]  # torch knows them as modules

    def _mixed(self, described: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return kind of target -> its kernel between tracks and the training part."""
        found = {name: kernel(described[name]) for name, kernel in self._each()}
        return {
            kind: torch.stack([weight * found[name] for name, weight in weights.items()]).sum(0)
            for kind, weights in self.weights.items()
        }

    def _classifier(self, gram: Tensor, labels: Indices) -> tuple[Tensor, Tensor, Tensor]:
        """Return coefficients `[tracks, pairs]`, intercepts `[pairs]`, and the classes that occur."""
        from sklearn.svm import SVC

        svm = SVC(C=self.C, kernel="precomputed").fit(gram.numpy(), labels)
        own, intercepts = pairwise(svm)
        support = torch.from_numpy(svm.support_.astype(np.int64))
        coefficients = own.new_zeros(len(labels), own.shape[1]).index_copy(0, support, own)
        return coefficients, intercepts, torch.from_numpy(svm.classes_.astype(np.int64))

    def _scores(self, gram: Tensor, labels: Indices, count: int, train: Indices, rest: Indices) -> Tensor:
        coefficients, intercepts, classes = self._classifier(gram[train][:, train], labels[train])
        return class_scores(gram[rest][:, train] @ coefficients + intercepts, classes, count)


def _normalized(weights: Mapping[str, float]) -> dict[str, float]:
    total = sum(weights.values())
    return {name: weight / total for name, weight in weights.items()}


def _make_kernel(name: str, gamma: Mapping[str, float]) -> Kernel:
    if name == "statistics":
        return StandardizedKernel(gamma.get(name, 0.8))
    if name == "normal":
        return NormalKernel(gamma.get(name, 3.0))
    return VectorKernel(gamma.get(name, 1.5))


def _matrix(vectors: Sequence[NDArray[np.float32]]) -> Tensor:
    return torch.from_numpy(np.stack(vectors))
