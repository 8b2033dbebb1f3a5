"""The `multi-kernel` model."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from musicemo.contracts import Estimator, Target
from musicemo.errors import InputError, nearest
from musicemo_builtin.features._descriptors import DESCRIPTORS, MELS, PITCH_CLASSES, SIZES, describe
from musicemo_builtin.models._kernels import Kernel, NormalKernel, StandardizedKernel, VectorKernel
from musicemo_builtin.models._statistics import pooled
from musicemo_builtin.models._svm import class_scores, pairwise, sigmoid_fit, temperature

__all__ = ["MultiKernel"]

_log = logging.getLogger(__name__)

Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Weights = Annotated[dict[str, Positive], Field(min_length=1)]
Indices = NDArray[np.intp]

_REGRESSION = {"statistics": 2.0, "timbre": 1.0, "bands": 1.0}
_CLASSIFICATION = {"statistics": 1.0, "timbre": 1.0, "bands": 1.0, "normal": 2.0}
_STREAM = 2.0
"""Default weight of a further stream."""

_GAMMA = {"statistics": 0.8, "timbre": 1.5, "bands": 1.5, "normal": 3.0}
_STREAM_GAMMA = 0.8

_DESCRIBED = ("descriptors", "mel-chroma")
"""Streams of the descriptors."""

_FRAME, _VECTOR = MELS + PITCH_CLASSES, sum(SIZES.values())
"""Rows of ``mel-chroma``, from which descriptors are computed, and of all ``descriptors``."""


class MultiKernel(Estimator):
    """Kernel ridge regression and support vector classification with a weighted mean of kernels on whole tracks.

    Some kernels compare two tracks by descriptors, which are those of the stream ``descriptors`` with all its outputs,
    or are computed from the stream ``mel-chroma``:

    - ``statistics``: some 670 standardized numbers that describe the spectrum's shape, modulation, harmonic and
      percussive parts, and the chroma;
    - ``timbre`` and ``bands``: distributions of cepstral coefficients and of mel bands, with their slopes at several
      scales, compared by log-Euclidean distance;
    - ``normal``: the distribution of cepstral coefficients and slopes, compared by Bhattacharyya distance.

    Every other stream of features, such as an embedding, has a kernel of its name, which compares the mean and standard
    deviation over time of its rows, each standardized over the training set.

    With k[j] = exp(-gamma[j] d[j]) and weights w, where d[j] is relative to the median distance of the training tracks
    (for ``statistics`` and streams, a squared distance relative to the number of statistics that vary):

        k(a, b) = sum_j w[j] k[j](a, b) / sum_j w[j]
        ratings: f(a) = sum_i c[i] k(a, i) + mean(y),   c = (K + alpha I)^-1 (y - mean(y))

    over the training tracks i. With ``coupling`` c > 0, all predictions of ratings correct each other: predictions z,
    standardized by the training tracks' ratings, become B^T z, with

        B = (E^T E + t I)^-1 (E^T Z + t I),   t = (1 - c) / c trace(E^T E) / ratings

    where Z `[tracks, ratings]` are the standardized ratings and E their leave-one-out predictions, for the training
    tracks that have all of them. Classes and tags are predicted by support vector machines as in `svr`, with calibrated
    logits. The descriptors need both mel spectrogram and chromagram per frame. Both streams must be unscaled:
    ``scaling = { method = "none" }``.

    G. R. G. Lanckriet and others, "Learning the Kernel Matrix with Semidefinite Programming", JMLR, 2004, for weighted
    sums of kernels. Deviation: the weights are parameters and are not learned. L. Breiman, J. H. Friedman, "Predicting
    Multivariate Responses in Multiple Linear Regression", Journal of the Royal Statistical Society B, 1997, for the
    coupling. Deviation: B is shrunk towards the identity by ridge regression.

    Args:
        input_size: Number of feature rows.
        targets: Targets of the tasks.
        streams: The rows of each feature stream. A single stream with 140 or 12,297 rows is also that of the
            descriptors.
        alpha: L2 penalty of a regression.
        coupling: Correction of ratings by each other, from 0 (none) to 1 (least squares).
        C: Bound of a classification's coefficients.
        regression: Kernel -> weight for ratings; by default 2 for ``statistics``, 1 for ``timbre`` and ``bands``, and 2
            for each further stream.
        classification: Kernel -> weight for classes and tags; by default 1 for ``statistics``, ``timbre`` and
            ``bands``, 2 for ``normal``, and 2 for each further stream.
        gamma: Kernel -> rate of decay; by default 0.8 (``statistics`` and streams), 1.5 (``timbre``, ``bands``) and 3
            (``normal``).

    Raises:
        InputError: The descriptors are used, and their stream is missing or has other rows; or a kernel name is
            unknown.
    """

    coefficients: Tensor
    intercepts: Tensor
    factors: Tensor

    def __init__(
        self,
        *,
        input_size: int,
        targets: Sequence[Target],
        streams: Mapping[str, slice] | None = None,
        alpha: Positive = 0.2,
        coupling: Share = 0.0,
        C: Positive = 3.0,
        regression: Weights | None = None,
        classification: Weights | None = None,
        gamma: dict[str, Positive] = {},  # noqa: B006  # the default of a table, which nobody changes
    ) -> None:
        super().__init__()
        streams = streams or {"features": slice(0, input_size)}
        whole = input_size in (_FRAME, _VECTOR) and len(streams) == 1
        described = next(iter(streams)) if whole else next((name for name in _DESCRIBED if name in streams), "")
        further = [name for name in streams if name != described]
        _check_names(streams, {"regression": regression, "classification": classification, "gamma": gamma})
        extra = dict.fromkeys(further, _STREAM)
        weights = {
            "regression": {**_REGRESSION, **extra} if regression is None else regression,
            "classification": {**_CLASSIFICATION, **extra} if classification is None else classification,
        }
        weights["tags"] = weights["classification"]
        self.targets = tuple(targets)
        self.alpha, self.coupling, self.C = alpha, coupling, C
        kinds = {target.kind for target in targets}
        self.weights = {kind: _normalized(weights[kind]) for kind in weights if kind in kinds}
        used = [name for name in (*DESCRIPTORS, *streams) if any(name in one for one in self.weights.values())]
        self.columns = {name: streams[name] for name in used if name in streams}
        self.described = None if len(self.columns) == len(used) else _descriptor_columns(streams, described)
        # The name of a stream can be one that a module cannot have.
        self._keys = {name: name if name in DESCRIPTORS else f"stream{used.index(name)}" for name in used}
        self.kernels = nn.ModuleDict({self._keys[name]: _make_kernel(name, gamma) for name in used})
        for name in ("coefficients", "intercepts", "factors"):
            self.register_buffer(name, torch.empty(0))
        for index, target in enumerate(self.targets):
            if target.kind == "tags":
                self.register_buffer(f"lines{index}", torch.empty(0))
            elif target.classes:
                self.register_buffer(f"classes{index}", torch.empty(0, dtype=torch.int64))

    @torch.no_grad()
    def fit(self, tracks: Iterable[Tensor], targets: Mapping[str, Tensor]) -> None:
        """Describe the tracks, and fit every target to those that have it.

        Raises:
            InputError: The stream ``descriptors`` is scaled.
        """
        each, highest = [], -np.inf
        for track in tracks:
            each.append(self._describe(track))
            if self.described is not None:
                part = track[:, self.described]
                if part.shape[1] == _VECTOR:
                    _check_covariances(each[-1]["normal"])
                else:
                    highest = max(highest, float(part[:, :MELS].max()))
        if highest > 0:
            _log.warning(
                f"the mel spectrogram reaches {highest:.3g}, but decibels relative to the maximum are at most 0. The "
                'features seem to be scaled. Set scaling = { method = "none" }'
            )
        described = {name: torch.stack([one[name] for one in each]) for name in self._keys}
        for name, kernel in self._each():
            kernel.fit(described[name])
        mixed = self._mixed(described)
        coefficients, intercepts, factors = [], [], []
        residuals = {}
        for index, target in enumerate(self.targets):
            values = targets[target.name].double()
            if target.kind == "tags":
                every = [self._fit_tag(mixed[target.kind].double(), column) for column in values.unbind(1)]
                coefficients.append(torch.stack([own for own, _, _ in every], 1))
                intercepts.append(torch.stack([intercept for _, intercept, _ in every]))
                setattr(self, f"lines{index}", torch.tensor([line for _, _, line in every]))
                factors.append(1.0)
                continue
            known = np.flatnonzero(values.isfinite().numpy())
            gram, y = mixed[target.kind].double()[known][:, known], values[known]
            if target.classes:
                labels = y.numpy().astype(np.intp)
                factors.append(temperature(labels, partial(self._scores, gram, labels, len(target.classes))))
                own, intercept, classes = self._classifier(gram, labels)
                setattr(self, f"classes{index}", classes)
            else:
                intercept = y.mean()[None]
                inverse = torch.linalg.inv(gram + self.alpha * torch.eye(len(known), dtype=gram.dtype))
                own = inverse @ (y - intercept)[:, None]
                residuals[index] = y.new_full((len(values),), torch.nan)
                residuals[index][known] = own.squeeze(1) / inverse.diagonal()
                factors.append(1.0)
            coefficients.append(
                own.new_zeros(len(values), own.shape[1]).index_copy(0, torch.from_numpy(known), own)
            )
            intercepts.append(intercept)
        if self.coupling and len(residuals) > 1:
            ratings = torch.stack([targets[self.targets[index].name].double() for index in residuals], 1)
            mixing = _coupled(ratings, torch.stack(list(residuals.values()), 1), self.coupling)
            together = torch.cat([coefficients[index] for index in residuals], 1) @ mixing
            for index, own in zip(residuals, together.unbind(1), strict=True):
                coefficients[index] = own[:, None]
        self.coefficients = torch.cat(coefficients, 1).float()
        self.intercepts = torch.cat(intercepts).float()
        self.factors = torch.tensor(factors)

    def forward(self, x: Tensor, lengths: Tensor, labels: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return ratings and logits."""
        tracks = zip(x.cpu(), lengths.tolist(), strict=True)
        each = [self._describe(track[:length]) for track, length in tracks]
        described = {name: torch.stack([one[name] for one in each]).to(x.device) for name in self._keys}
        mixed = self._mixed(described)
        predictions, column = {}, 0
        for index, target in enumerate(self.targets):
            if target.kind == "tags":
                columns = slice(column, column + len(target.classes))
                decisions = mixed[target.kind] @ self.coefficients[:, columns] + self.intercepts[columns]
                slopes, offsets = getattr(self, f"lines{index}").unbind(1)
                predictions[target.name] = decisions * slopes + offsets
                column = columns.stop
                continue
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

    def _describe(self, track: Tensor) -> dict[str, Tensor]:
        """Return the vectors that the kernels compare, of a track `[time, feature]`."""
        vectors = {}
        if self.described is not None:
            part = track[:, self.described]
            if part.shape[1] == _VECTOR:
                parts = torch.split(part.mean(0), list(SIZES.values()))
                vectors = dict(zip(SIZES, parts, strict=True))
            else:
                vectors = {name: torch.from_numpy(vector) for name, vector in describe(part.numpy()).items()}
        for name, columns in self.columns.items():
            vectors[name] = pooled(track[None, :, columns], torch.tensor([len(track)]), ("mean", "std"))[0]
        return vectors

    def _each(self) -> Iterator[tuple[str, Kernel]]:
        for name, key in self._keys.items():
            yield name, self.kernels[key]  # type: ignore[misc]  # torch knows it as a module

    def _mixed(self, described: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return kind of target -> its kernel between tracks and the training part."""
        found = {name: kernel(described[name]) for name, kernel in self._each()}
        return {
            kind: torch.stack([weight * found[name] for name, weight in weights.items()]).sum(0)
            for kind, weights in self.weights.items()
        }

    def _fit_tag(self, gram: Tensor, values: Tensor) -> tuple[Tensor, Tensor, tuple[float, float]]:
        """Fit a tag; return coefficients `[tracks]` and the intercept of its margin, and the line to its logit.

        If all known tracks have the tag, or none does, the logit is log((n[1] + 1) / (n[0] + 1)).
        """
        known = torch.from_numpy(np.flatnonzero(values.isfinite().numpy()))
        labels = values[known].numpy().astype(np.intp)
        having, without = (int((labels == value).sum()) for value in (1, 0))
        coefficients, intercept = values.new_zeros(len(values)), values.new_zeros(())
        if not having or not without:
            return coefficients, intercept, (0.0, math.log((having + 1) / (without + 1)))
        gram = gram[known][:, known]

        def margin(train: Indices) -> tuple[Tensor, Tensor]:
            own, intercepts, _ = self._classifier(gram[train][:, train], labels[train])
            return -own[:, 0], -intercepts[0]

        def margins(train: Indices, rest: Indices) -> Tensor:
            own, intercept = margin(train)
            return gram[rest][:, train] @ own + intercept

        line = sigmoid_fit(labels, margins)
        own, intercept = margin(np.arange(len(labels)))
        return coefficients.index_copy(0, known, own), intercept, line

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


def _coupled(ratings: Tensor, residuals: Tensor, coupling: float) -> Tensor:
    """Return the matrix `[ratings, ratings]` by which centered predictions are multiplied.

    Args:
        ratings: `[tracks, ratings]`, NaN where a track has none.
        residuals: The ratings minus their leave-one-out predictions, `[tracks, ratings]`.
        coupling: From 0 to 1, above 0.
    """
    complete = ratings.isfinite().all(1)
    deviations = torch.stack([one[one.isfinite()].std(correction=0) for one in ratings.unbind(1)])
    deviations = deviations.where(deviations > 0, 1)
    centered = (ratings - ratings.nanmean(0))[complete] / deviations
    predicted = centered - residuals[complete] / deviations
    gram = predicted.T @ predicted
    count = len(gram)
    ridge = ((1 - coupling) / coupling * gram.trace() / count).clamp(min=1e-9) * torch.eye(
        count, dtype=gram.dtype
    )
    mixing: Tensor = torch.linalg.solve(gram + ridge, predicted.T @ centered + ridge)
    return mixing * deviations / deviations[:, None]


def _normalized(weights: Mapping[str, float]) -> dict[str, float]:
    total = sum(weights.values())
    return {name: weight / total for name, weight in weights.items()}


def _make_kernel(name: str, gamma: Mapping[str, float]) -> Kernel:
    rate = gamma.get(name, _GAMMA.get(name, _STREAM_GAMMA))
    if name == "normal":
        return NormalKernel(rate)
    return VectorKernel(rate) if name in ("timbre", "bands") else StandardizedKernel(rate)


def _check_names(streams: Mapping[str, slice], tables: Mapping[str, Mapping[str, float] | None]) -> None:
    """Check that tables name kernels.

    Raises:
        InputError: A table has an unknown name, or a stream has the name of a descriptor.
    """
    for name in DESCRIPTORS:
        if name in streams:
            raise InputError(
                f"a stream of features is called {name!r}, which is the name of a kernel on descriptors. Set another "
                "`name` in its table [features]"
            )
    kernels = (*DESCRIPTORS, *streams)
    for table, names in tables.items():
        for name in names or ():
            if name not in kernels:
                listed = ", ".join(kernels)
                raise InputError(
                    f"`{table}`: unknown kernel {name!r}{nearest(name, kernels)} (kernels: {listed})"
                )


def _check_covariances(normal: Tensor) -> None:
    """Check that the variances of a distribution `[size + size^2]` are positive.

    Raises:
        InputError: They are not.
    """
    size = int(((4 * len(normal) + 1) ** 0.5 - 1) / 2)
    if not (normal[size :: size + 1] > 0).all():
        raise InputError(
            'the stream of descriptors has variances that are not positive. Set scaling = { method = "none" }'
        )


def _descriptor_columns(streams: Mapping[str, slice], name: str) -> slice:
    """Return the columns of the descriptors, or of the mel spectrogram and the chromagram.

    Raises:
        InputError: There is no such stream, or it has other rows.
    """
    columns = streams.get(name)
    rows = columns.stop - columns.start if columns else None
    if columns is None or rows not in (_FRAME, _VECTOR):
        listed = ", ".join(f"{stream} {one.stop - one.start}" for stream, one in streams.items())
        raise InputError(
            f"the kernels on descriptors need a stream descriptors with all its outputs, {_VECTOR} rows, or a stream "
            f"mel-chroma with {MELS} rows of a mel spectrogram and {PITCH_CLASSES} of a chromagram in decibels (rows "
            f"of the streams: {listed}). Add one to [features], or name only streams in `regression` and "
            "`classification`"
        )
    return columns
