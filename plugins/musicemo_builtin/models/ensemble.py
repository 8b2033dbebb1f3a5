"""The `ensemble` model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn

from musicemo.contracts import ComponentTable, Estimator, NestedComponent, Target
from musicemo.errors import InputError, nearest
from musicemo.settings import Settings

__all__ = ["Ensemble"]


class MemberSettings(Settings):
    """Keys of a member's table beside those of its model."""

    weight: Annotated[float, Field(gt=0)] = 1.0
    """Weight of the member's predictions."""
    streams: Annotated[list[str], Field(min_length=1)] | None = None
    """Streams of features that the member gets; by default, all."""


class Ensemble(Estimator):
    """The weighted mean of the predictions of several estimators.

    With the prediction f[m] of member m, weight w[m], and W = sum_m w[m]:

        ratings: sum_m w[m] f[m] / W
        probabilities of classes and of tags: sum_m w[m] p[m] / W

    All members are fitted to the same training tracks. Therefore an ensemble's out-of-fold predictions are the mean of
    its members' out-of-fold predictions in the same folds, and its scores are as unbiased as those of one model.

    L. Breiman, "Bagging Predictors", Machine Learning, 1996, for means of predictors.

    Args:
        input_size: Number of feature rows.
        targets: Targets of the tasks.
        streams: The rows of each feature stream.
        members: Tables of the members: a model that is fitted in one go, its parameters, and optionally `weight` (1)
            and `streams`, a list of the streams of features that it gets.

    Raises:
        InputError: A member is trained by gradients, or names a stream that does not exist.
    """

    def __init__(
        self,
        *,
        input_size: int,
        targets: Sequence[Target],
        members: Annotated[
            list[Annotated[dict[str, Any], ComponentTable("model", MemberSettings)]], Field(min_length=1)
        ],
        streams: Mapping[str, slice] | None = None,
    ) -> None:
        super().__init__()
        streams = streams or {"features": slice(0, input_size)}
        self.targets = tuple(targets)
        components: Sequence[NestedComponent] = members  # type: ignore[assignment]  # the core replaces the tables
        total = sum(member.settings.weight for member in components)
        self.weights = [member.settings.weight / total for member in components]
        self.columns: list[list[int]] = []
        models: list[Estimator] = []
        for index, member in enumerate(components):
            columns, parts = _select(streams, member.settings.streams, f"`members[{index}].streams`")
            model = member.build(input_size=len(columns), targets=targets, streams=parts)
            if not isinstance(model, Estimator):
                raise InputError(
                    f"`members[{index}]`: {member.name!r} is trained by gradients, and members must be fitted in "
                    "one go, such as svr, ridge and multi-kernel"
                )
            self.columns.append(columns)
            models.append(model)
        self.members = nn.ModuleList(models)
        self.given = tuple(dict.fromkeys(name for model in models for name in model.given))

    def fit(self, tracks: Iterable[Tensor], targets: Mapping[str, Tensor]) -> None:
        """Fit each member."""
        for member, columns in self._each():
            member.fit(_Columns(tracks, columns), targets)

    def forward(self, x: Tensor, lengths: Tensor, labels: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the mean predictions."""
        predictions = [
            member(x[:, :, columns], lengths, {name: labels[name] for name in member.given})
            for member, columns in self._each()
        ]
        weights = x.new_tensor(self.weights)
        return {
            target.name: _average(target.kind, torch.stack([one[target.name] for one in predictions]), weights)
            for target in self.targets
        }

    def _each(self) -> Iterator[tuple[Estimator, list[int]]]:
        return zip(self.members, self.columns, strict=True)  # type: ignore[arg-type]  # torch knows them as modules


class _Columns:
    """Some columns of tracks, which are read each time they are iterated."""

    def __init__(self, tracks: Iterable[Tensor], columns: list[int]) -> None:
        self.tracks, self.columns = tracks, columns

    def __iter__(self) -> Iterator[Tensor]:
        return (track[:, self.columns] for track in self.tracks)


def _select(
    streams: Mapping[str, slice], names: Sequence[str] | None, key: str
) -> tuple[list[int], dict[str, slice]]:
    """Return the columns of the named streams, and the columns of each among them.

    Raises:
        InputError: A stream does not exist.
    """
    columns: list[int] = []
    parts = {}
    for name in names or streams:
        if name not in streams:
            listed = ", ".join(streams)
            raise InputError(f"{key}: unknown stream {name!r}{nearest(name, streams)} (streams: {listed})")
        parts[name] = slice(len(columns), len(columns) + streams[name].stop - streams[name].start)
        columns += range(streams[name].start, streams[name].stop)
    return columns, parts


def _average(kind: str, predictions: Tensor, weights: Tensor) -> Tensor:
    """Return the mean of ratings `[members, batch]`, or the logits of the mean probabilities."""
    shares = weights.reshape(-1, *[1] * (predictions.dim() - 1))
    if kind == "regression":
        return (shares * predictions).sum(0)
    if kind == "classification":
        return torch.logsumexp(predictions.log_softmax(-1) + shares.log(), 0)
    applies, does_not = (
        torch.logsumexp(nn.functional.logsigmoid(sign * predictions) + shares.log(), 0) for sign in (1, -1)
    )
    return applies - does_not
