"""What an epoch draws of several datasets."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["Proportions"]

Indices = NDArray[np.intp]


class Proportions:
    """Draws as many tracks an epoch as there are, of each dataset in its proportion.

    Of the n tracks of a training part, dataset d gives n * p[d] / sum(p), rounded, spread evenly over the epoch: every
    batch has the proportions, to within a track or two. A dataset's tracks are drawn in random order, and none comes
    again before all the others of its dataset have come: over a training, each is drawn equally often, give or take
    one. What an epoch draws depends on seed and epoch alone.

    Args:
        datasets: the training tracks of each dataset.
        proportions: p, of each dataset.
    """

    def __init__(self, datasets: Sequence[Indices], proportions: Sequence[float]) -> None:
        self._datasets = datasets
        total = sum(len(indices) for indices in datasets)
        edges = np.cumsum(proportions) / np.sum(proportions) * total
        #: Tracks of each dataset in an epoch.
        self.counts: list[int] = np.diff(np.round(edges).astype(int), prepend=0).tolist()

    def draw(self, seed: int, epoch: int) -> Indices:
        """Return the tracks of an epoch, which is counted from 1, in order."""
        random = np.random.default_rng([seed, epoch])
        drawn, places = [], []
        for number, (indices, count) in enumerate(zip(self._datasets, self.counts, strict=True)):
            drawn.append(_dealt(indices, count * (epoch - 1), count, seed, number))
            places.append((np.arange(count) + random.uniform(size=count)) / max(count, 1))
        order: Indices = np.concatenate(drawn)[np.argsort(np.concatenate(places), kind="stable")]
        return order


def _dealt(indices: Indices, start: int, count: int, seed: int, dataset: int) -> Indices:
    """Return a piece of an endless row of shuffled decks: every deck holds each index once."""
    if not count:
        return indices[:0]
    first, last = start // len(indices), (start + count - 1) // len(indices)
    decks = [
        np.random.default_rng([seed, dataset, deck, 1]).permutation(indices) for deck in range(first, last + 1)
    ]
    begin = start - first * len(indices)
    return np.concatenate(decks)[begin : begin + count]
