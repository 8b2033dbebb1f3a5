"""A split of several datasets, each by itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from musicemo.data.splits import PARTS, Split
from musicemo.data.tracks import Tracks

__all__ = ["split_joined"]


def split_joined(
    split_one: Callable[[str, np.ndarray[tuple[int], np.dtype[np.intp]]], Split],
    grouped: Mapping[str, bool],
    tracks: Tracks,
) -> Split:
    """Split every dataset by itself, and put the parts together.

    A group (an artist, an album) is the same in every dataset that has one of its name: where a dataset is split by
    groups, those that an earlier dataset has stand where they stand there.

    Args:
        split_one: splits some tracks of a dataset, given its name and their indices.
        grouped: dataset -> whether it is split by groups.
        tracks: the tracks.
    """
    sides: dict[str, str] = {}
    parts: dict[str, list[int]] = {part: [] for part in PARTS}
    for name, indices in tracks.sources.items():
        groups = {int(index): tracks.tracks[index].group for index in indices}
        placed = {
            index: sides[group]
            for index, group in groups.items()
            if grouped[name] and group is not None and group in sides
        }
        rest = np.array([index for index in groups if index not in placed], dtype=np.intp)
        if len(rest):
            split = split_one(name, rest)
            placed |= {int(rest[index]): part for part in PARTS for index in split.parts[part]}
        for index, part in placed.items():
            parts[part].append(index)
        for part in PARTS:  # a group on two sides of an earlier dataset trains
            for index, side in placed.items():
                if side == part and (group := groups[index]) is not None:
                    sides.setdefault(group, part)
    found = {part: np.sort(np.array(indices, dtype=np.intp)) for part, indices in parts.items()}
    return Split(found, tracks.ids)
