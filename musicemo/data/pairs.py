"""Pairs of tracks that listeners have compared: which of the two is higher."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from musicemo.contracts import Judgement, Track
from musicemo.errors import InputError
from musicemo.evaluation import connected

__all__ = [
    "Pairs",
    "check_judgements",
    "compared",
    "find_pairs",
    "find_partners",
    "judgements",
    "pair_groups",
]

Indices = NDArray[np.intp]


@dataclass(frozen=True)
class Pairs:
    """Judged pairs of tracks, each pair once, the track that comes first in the dataset first."""

    #: `[pairs, 2]`: indices of the two tracks.
    members: Indices
    #: `[pairs, 2]`: number of listeners for whom each of the two is the higher one; those without a preference count
    #: half on each side.
    listeners: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.members)

    def within(self, indices: Indices) -> Pairs:
        """Return the pairs of which both tracks are among `indices`, with the positions there as members.

        Args:
            indices: indices of tracks, such as those of a batch. If a track is there twice, its last position counts.
        """
        if not len(self.members):
            return self
        place = np.full(max(int(self.members.max()), int(indices.max(initial=0))) + 1, -1, dtype=np.intp)
        place[indices] = np.arange(len(indices))
        positions = place[self.members]
        both = (positions >= 0).all(axis=1)
        return Pairs(positions[both], self.listeners[both])


def find_partners(pairs: Iterable[Pairs], indices: Indices) -> dict[int, Indices]:
    """Return track -> the tracks that it is compared with, of the pairs with both tracks among `indices`."""
    members = [indices[one.within(indices).members] for one in pairs]
    ends = np.unique(np.concatenate([*members, *(one[:, ::-1] for one in members)]), axis=0)
    tracks, starts = np.unique(ends[:, 0], return_index=True)
    return dict(zip(tracks.tolist(), np.split(ends[:, 1], starts[1:]), strict=True)) if len(ends) else {}


def find_pairs(tracks: Sequence[Track], target: str) -> tuple[Pairs, list[str]]:
    """Return the pairs that the tracks' judgements name, and the ids in them that are of no track.

    Args:
        tracks: the tracks.
        target: name of a target of the kind ``pairs``.
    """
    place = {track.id: index for index, track in enumerate(tracks)}
    listeners: dict[tuple[int, int], NDArray[np.float64]] = {}
    unknown: list[str] = []
    for index, track in enumerate(tracks):
        for judgement in judgements(track, target):
            if judgement.other not in place:
                unknown.append(judgement.other)
                continue
            other, count = place[judgement.other], np.array([judgement.higher, judgement.lower])
            key = (index, other) if index < other else (other, index)
            listeners[key] = listeners.get(key, np.zeros(2)) + (count if index < other else count[::-1])
    members = np.array(sorted(listeners), dtype=np.intp).reshape(-1, 2)
    counts = np.array([listeners[first, second] for first, second in members.tolist()])
    return Pairs(members, counts.reshape(-1, 2)), unknown


def compared(tracks: Iterable[Track], targets: Collection[str]) -> set[str]:
    """Return the ids of all tracks that are in a pair of one of the targets."""
    ids: set[str] = set()
    for track in tracks:
        for judgement in (one for target in targets for one in judgements(track, target)):
            if isinstance(judgement, Judgement):
                ids |= {track.id, judgement.other}
    return ids


def check_judgements(track: Track, target: str) -> None:
    """Check the judgements of a track.

    Raises:
        InputError: one is not a `Judgement`, is of the track with itself, or has invalid numbers of listeners.
    """
    value = track.targets.get(target)
    where = f"track {track.id!r}: {target}"
    if isinstance(value, str | Mapping) or not isinstance(value, Sequence):
        raise InputError(f"{where} is {value!r}, but must be a sequence of musicemo.contracts.Judgement")
    for one in value:
        if not isinstance(one, Judgement):
            raise InputError(f"{where} has {one!r}, but must be a sequence of musicemo.contracts.Judgement")
        if one.other == track.id:
            raise InputError(f"{where} compares the track with itself")
        numbers = (one.higher, one.lower)
        if not (all(0 <= number < np.inf for number in numbers) and sum(numbers) > 0):
            raise InputError(
                f"{where}: the judgement of {one.other!r} has {one.higher!r} and {one.lower!r} listeners; both must be "
                "finite, at least 0, and not both 0"
            )


def pair_groups(tracks: Sequence[Track], pairs: Collection[Pairs], groups: Sequence[str | None]) -> list[str]:
    """Return the name of each track's group, so that the tracks of a pair, and those of a group, are together.

    Args:
        tracks: the tracks.
        pairs: judged pairs of these tracks.
        groups: a name for the tracks that are together in any case, such as the artist; None for others.
    """
    first: dict[str, int] = {}
    links = [one.members for one in pairs]
    same = [(first.setdefault(group, index), index) for index, group in enumerate(groups) if group is not None]
    links.append(np.array(same, dtype=np.intp).reshape(-1, 2))
    labels = connected(np.concatenate(links), len(tracks))
    return [tracks[index].id for index in labels.tolist()]


def judgements(track: Track, target: str) -> Sequence[Judgement]:
    """Return the checked judgements of a track; none if the target is missing."""
    value = track.targets.get(target)
    return value if isinstance(value, Sequence) and not isinstance(value, str) else ()
