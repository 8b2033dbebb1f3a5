"""Batches, padded to their longest track, in an order that depends only on seed and epoch."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from musicemo.data.augmentation import Augmentations
from musicemo.data.features import Features
from musicemo.data.series import TimedRatings

__all__ = ["Batch", "Batches", "Proportions"]

Indices = NDArray[np.intp]

#: Batches among whose tracks the length-bucketed order sorts: long enough to save padding, short enough to mix.
_POOL = 50


@dataclass(frozen=True, slots=True)
class Batch:
    """Several tracks, padded with zeros.

    If several processes train a network, the features are those of this process's share, everything else is of all
    tracks of the batch.
    """

    #: `[share, time, feature]`, float32.
    x: Tensor
    #: `[share]`, int64: frames of each track.
    lengths: Tensor
    #: `[batch, columns]`, float32, see `Tracks.targets`.
    targets: Tensor
    #: Index of each track among the experiment's tracks.
    indices: NDArray[np.intp]
    #: Task with ratings over time -> `[batch, time]`, float32: NaN where not rated, and beyond the track's length.
    series: Mapping[str, Tensor] = field(default_factory=dict)
    #: Weight of the loss with these labels.
    weight: float = 1.0
    #: Further labels of the examples, if they were mixed: without features. The weights of all add up to 1.
    more: Sequence[Batch] = ()

    def to(self, device: torch.device) -> Batch:
        """Move the tensors to a device."""
        series = {name: steps.to(device) for name, steps in self.series.items()}
        more = [one.to(device) for one in self.more]
        moved = (self.x.to(device), self.lengths.to(device), self.targets.to(device))
        return Batch(*moved, self.indices, series, self.weight, more)


@dataclass(frozen=True, slots=True)
class _SetTracks:
    """The features of some tracks, each `[time, feature]`, read each time they are iterated."""

    features: Features
    indices: NDArray[np.intp]

    def __iter__(self) -> Iterator[Tensor]:
        return (torch.from_numpy(features) for features in self.features.select(self.indices))


class Batches:
    """The batches of a set.

    Args:
        features: features of all tracks.
        targets: `[tracks, columns]`.
        indices: the set's tracks.
        batch_size: tracks per batch; the last batch can have fewer.
        seed: with the epoch, determines the order; None keeps the order of the tracks.
        bucket: whether to combine tracks of similar length, to reduce padding.
        proportions: draws the tracks of several datasets in proportions, instead of each track once per epoch.
        series: task with ratings over time -> those of all tracks.
        partners: track -> the tracks that it is compared with. With a seed, a track that has partners
            brings one of them into its batch, drawn at random; not in epoch 0.
        augmentations: change the examples of each batch; not in epoch 0.

    Attributes:
        join_single: whether a last batch of one track is joined to the batch before it.
    """

    def __init__(
        self,
        features: Features,
        targets: NDArray[np.float64],
        indices: Sequence[int] | NDArray[np.intp],
        batch_size: int,
        *,
        seed: int | None = None,
        bucket: bool = False,
        proportions: Proportions | None = None,
        series: Mapping[str, Sequence[TimedRatings | None]] | None = None,
        partners: Mapping[int, NDArray[np.intp]] | None = None,
        augmentations: Augmentations | None = None,
    ) -> None:
        self._features = features
        self._series = dict(series or {})
        self._targets = torch.from_numpy(np.asarray(targets, dtype=np.float32))
        self.indices = np.asarray(indices, dtype=np.intp)
        self._size = batch_size
        self._seed = seed
        self._bucket = bucket
        self._proportions = proportions
        self._partners = partners if seed is not None else None
        if self._partners:  # a track and its partner are two tracks of the batch
            self._size = max(1, batch_size // 2)
        self.join_single = False
        self._augmentations = augmentations

    def __len__(self) -> int:
        return len(self._cut(self.indices, self._size))

    @property
    def augmented(self) -> bool:
        """Whether the examples of epochs from 1 on are changed."""
        return self._augmentations is not None

    @property
    def smallest(self) -> int:
        """Tracks of the smallest batch of an epoch."""
        return min(map(len, self._cut(self.indices, self._size)), default=0)

    def tracks(self) -> Iterable[Tensor]:
        """Return the features of the set's tracks, each `[time, feature]`, in the order of the set.

        They are read each time they are iterated.
        """
        return _SetTracks(self._features, self.indices)

    @property
    def targets(self) -> Tensor:
        """Targets of the part's tracks `[tracks, columns]`, in the order of `tracks`."""
        return self._targets[torch.from_numpy(self.indices)]

    @property
    def series(self) -> dict[str, Tensor]:
        """Task -> the ratings of the part's tracks over time, `[tracks, time]`; NaN where not rated."""
        steps = int(self._features.lengths[self.indices].max(initial=0))
        return {name: self._padded(name, self.indices, steps) for name in self._series}

    def epoch(
        self,
        epoch: int = 0,
        share: Callable[[Indices], Indices] | None = None,
        batches: slice = slice(None),
    ) -> Iterator[Batch]:
        """Yield the batches of an epoch. Epoch 0 has each track once, regardless of the proportions.

        Args:
            epoch: number of the epoch.
            share: returns the part of a batch's tracks, by their places, whose features are read; by default all.
            batches: the batches to yield.
        """
        order = list(enumerate(self.order(epoch)))[batches]
        if self._augmentations is None or not epoch:
            return (self._pad(indices, share(indices) if share else indices) for _, indices in order)
        return (
            self._augmented(self._augmentations, indices, epoch, number, share) for number, indices in order
        )

    def order(self, epoch: int = 0) -> list[NDArray[np.intp]]:
        """Return the track indices of every batch of an epoch."""
        order = self.indices
        if self._seed is None:
            if self._bucket:
                order = order[np.argsort(self._features.lengths[order], kind="stable")]
            return self._cut(order, self._size)
        random = np.random.default_rng([self._seed, epoch])
        drawn = self._proportions
        order = drawn.draw(self._seed, epoch) if drawn and epoch else random.permutation(order)
        if not self._bucket:
            return self._paired(self._cut(order, self._size), epoch, random)
        batches = []
        for pool in self._cut(order, self._size * _POOL):
            batches += self._cut(pool[np.argsort(self._features.lengths[pool], kind="stable")], self._size)
        return self._paired([batches[index] for index in random.permutation(len(batches))], epoch, random)

    def _paired(
        self, batches: list[NDArray[np.intp]], epoch: int, random: np.random.Generator
    ) -> list[NDArray[np.intp]]:
        """Return the batches with a random partner of each track that has partners, once in a batch."""
        if not self._partners or not epoch:
            return batches
        paired = []
        for tracks in batches:
            some = dict.fromkeys(tracks.tolist())
            for index in tracks.tolist():
                if (partners := self._partners.get(index)) is not None:
                    some[int(random.choice(partners))] = None
            paired.append(np.array(list(some), dtype=np.intp))
        return paired

    def _cut(self, order: NDArray[np.intp], size: int) -> list[NDArray[np.intp]]:
        starts = list(range(0, len(order), size))
        if self.join_single and len(starts) > 1 and starts[-1] == len(order) - 1:
            starts.pop()
        return [order[start:end] for start, end in itertools.pairwise([*starts, len(order)])]

    def _pad(self, indices: Indices, share: Indices) -> Batch:
        lengths = self._features.lengths[share]
        steps = int(self._features.lengths[indices].max())
        # The embeddings of time steps are gathered from all processes, and have one shape in all.
        x = torch.zeros(len(share), steps if self._series else int(lengths.max()), self._features.size)
        padded = x.numpy()
        for row, index in enumerate(share):
            padded[row, : lengths[row]] = self._features[int(index)]
        series = {name: self._padded(name, indices, steps) for name in self._series}
        return Batch(x, torch.from_numpy(lengths), self._targets[torch.from_numpy(indices)], indices, series)

    def _augmented(
        self,
        augmentations: Augmentations,
        indices: Indices,
        epoch: int,
        number: int,
        share: Callable[[Indices], Indices] | None,
    ) -> Batch:
        """Return a batch with changed examples; all are changed, so that those of a share do not depend on it."""
        whole = self._pad(indices, indices)
        examples = augmentations(whole.x, whole.lengths, epoch, number)
        x, lengths = examples.x, examples.lengths
        if share is not None:
            rows = torch.from_numpy(share(np.arange(len(indices))))
            x, lengths = x[rows], lengths[rows]
        if not self._series:
            x = x[:, : int(lengths.max())]
        first, *more = (
            Batch(
                x if not one else x.new_empty(0),
                lengths,
                labels.targets,
                indices[labels.places],
                labels.series,
                labels.weight,
            )
            for one, labels in enumerate(augmentations.label(examples, whole.targets, whole.series))
        )
        return replace(first, more=more)

    def _padded(self, name: str, indices: NDArray[np.intp], steps: int) -> Tensor:
        padded = torch.full((len(indices), steps), math.nan)
        for row, index in enumerate(indices):
            if (rated := self._series[name][index]) is not None:
                padded[row, : len(rated.steps)] = torch.from_numpy(rated.steps)
        return padded


class Proportions:
    """Draws the tracks of an epoch, with a proportion for each dataset.

    Of the n tracks of a training set, dataset d contributes n * p[d] / sum(p), rounded, spread evenly over the
    epoch: every batch has the proportions, within a track or two. A dataset's tracks are drawn in random order,
    and none is drawn again before all others of its dataset: over a training, all are drawn equally often,
    within one. The draw of an epoch depends only on seed and epoch.

    Args:
        datasets: the training tracks of each dataset.
        proportions: the proportion p of each dataset.
    """

    def __init__(self, datasets: Sequence[Indices], proportions: Sequence[float]) -> None:
        self._datasets = datasets
        total = sum(len(indices) for indices in datasets)
        edges = np.cumsum(proportions) / np.sum(proportions) * total
        #: Tracks of each dataset in an epoch.
        self.counts: list[int] = np.diff(np.round(edges).astype(int), prepend=0).tolist()

    def draw(self, seed: int, epoch: int) -> Indices:
        """Return the tracks of an epoch in order. Epochs are counted from 1."""
        random = np.random.default_rng([seed, epoch])
        drawn, places = [], []
        for number, (indices, count) in enumerate(zip(self._datasets, self.counts, strict=True)):
            drawn.append(_dealt(indices, count * (epoch - 1), count, seed, number))
            places.append((np.arange(count) + random.uniform(size=count)) / max(count, 1))
        order: Indices = np.concatenate(drawn)[np.argsort(np.concatenate(places), kind="stable")]
        return order


def _dealt(indices: Indices, start: int, count: int, seed: int, dataset: int) -> Indices:
    """Return a part of an endless sequence of shuffled permutations, each of which has every index once."""
    if not count:
        return indices[:0]
    first, last = start // len(indices), (start + count - 1) // len(indices)
    decks = [
        np.random.default_rng([seed, dataset, deck, 1]).permutation(indices) for deck in range(first, last + 1)
    ]
    begin = start - first * len(indices)
    return np.concatenate(decks)[begin : begin + count]
