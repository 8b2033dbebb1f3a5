"""The contract of augmentations: random changes of training examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from musicemo.contracts.features import Bands
from musicemo.errors import InputError

__all__ = ["Augmentation", "Examples", "FeatureRows", "Labels"]


@dataclass(frozen=True, eq=False)
class FeatureRows:
    """The feature rows of an experiment, as an augmentation sees them.

    Attributes:
        size: Number of rows.
        streams: Stream -> its rows.
        bands: The groups of rows that an extractor declares as frequency bands or pitch classes.
        grids: Stream -> its time grid, for streams from audio.
        offset: `[rows]`, the value of the extractor that is 0 in the examples.
        scale: `[rows]`, the difference of the extractor's values that is 1 in the examples.
    """

    size: int
    streams: Mapping[str, slice]
    bands: Sequence[tuple[slice, Bands]]
    grids: Mapping[str, str]
    offset: NDArray[np.float32]
    scale: NDArray[np.float32]

    def frequencies(self, key: str) -> list[tuple[slice, Bands]]:
        """Return the groups of rows that are frequency bands.

        Args:
            key: the parameter that needs them, for the error.

        Raises:
            InputError: there are none.
        """
        frequencies = [(rows, bands) for rows, bands in self.bands if bands.kind == "frequency"]
        if not frequencies:
            raise InputError(
                f"{key}: needs frequency bands, but the features ({', '.join(self.streams)}) declare none. Use "
                "features such as 'log-mel'"
            )
        return frequencies


@dataclass(frozen=True, eq=False)
class Labels:
    """The tracks whose labels the examples of a batch have, with their weight in the loss.

    Attributes:
        weight: Weight of the loss with these labels.
        places: `[batch]`: the place in the batch of the track whose labels an example has.
        lost: Task -> `[batch]`, whether an example has lost the label.
    """

    weight: float
    places: Tensor
    lost: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Examples:
    """The examples of a training batch.

    Attributes:
        x: `[batch, time, feature]`, float32: the scaled features, zero from each example's length on.
        lengths: `[batch]`, int64: time steps of each example.
        labels: The labels. There are several if examples were mixed; their weights add up to 1. The loss of a task is
            the weighted sum of its losses with each of the labels.
    """

    x: Tensor
    lengths: Tensor
    labels: Sequence[Labels]

    @property
    def mask(self) -> Tensor:
        """`[batch, time]`: whether a time step is within the length of its example."""
        return torch.arange(self.x.shape[1]) < self.lengths[:, None]

    def select(self, places: Tensor) -> Examples:
        """Return some of the examples."""
        labels = [
            replace(
                one,
                places=one.places[places],
                lost={task: lost[places] for task, lost in one.lost.items()},
            )
            for one in self.labels
        ]
        return Examples(self.x[places], self.lengths[places], labels)

    def mixed(self, partners: Tensor, weight: float) -> Examples:
        """Return the weighted mean of each example and a partner, with the labels of both.

        A mix is as long as the example. Beyond the length of the partner, it is the example.

        Args:
            partners: `[batch]`: place of each example's partner.
            weight: weight of the example. The weight of the partner is the rest up to 1.
        """
        both = (self.mask & self.mask[partners])[:, :, None]
        x = torch.where(both, weight * self.x + (1 - weight) * self.x[partners], self.x)
        labels = [replace(one, weight=weight * one.weight) for one in self.labels]
        labels += [replace(one, weight=(1 - weight) * one.weight) for one in self.select(partners).labels]
        return Examples(x, self.lengths, labels)


@runtime_checkable
class Augmentation(Protocol):
    """Changes training examples at random.

    The core calls it for each training batch, with the whole batch also if several processes train the network. What
    it draws must come from `random`, which is seeded by the run's seed, the epoch and the batch: a resumed run gets
    the same examples. It must not change its input in place.

    Optional attributes:

    - ``changes``: properties of the music that it changes, such as ``("tempo",)``. A task whose target has one of these
      names needs the key ``tasks`` of the table, which lists the tasks whose labels survive.
    - ``aligned = False``: time step t of an example is not time step t of its track any more. Such an augmentation is
      refused if a task has ratings over time.
    - ``excerpts``: number of time steps and number of excerpts, if the network is evaluated on evenly spaced excerpts
      of each track instead of the whole track. Their predictions are averaged. Refused with ratings over time, too.
    """

    def __call__(self, examples: Examples, random: np.random.Generator) -> Examples:
        """Return the changed examples, as many as there were.

        Args:
            examples: the examples.
            random: the random numbers to use.
        """
        ...
