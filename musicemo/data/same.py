"""Tracks of the same music, recognized by id, audio file, features or sound; and artists under several spellings."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from unicodedata import normalize

from musicemo.contracts import Signal, Track
from musicemo.data.features import Features
from musicemo.data.splits import Split
from musicemo.data.tracks import Tracks
from musicemo.features import cache_name, find_alike, sound_prints

__all__ = [
    "EVIDENCE",
    "Evidence",
    "Recording",
    "Same",
    "artist_key",
    "find_same",
    "recordings",
    "sounding_alike",
]

Evidence = Literal["id", "audio file", "features", "sound"]

#: How tracks of the same music are recognized, in words.
EVIDENCE: dict[Evidence, str] = {
    "id": "the same id",
    "audio file": "the same audio file",
    "features": "equal features",
    "sound": "nearly identical audio",
}


#: A guest, who does not make another artist.
_GUEST = re.compile(r"\s+[(\[]?(feat|ft|featuring)\b.*", re.IGNORECASE | re.DOTALL)

#: An article at the beginning, or behind a comma at the end.
_ARTICLE = re.compile(r"^the\s+(?=.)|,\s*the$", re.IGNORECASE)


@dataclass(frozen=True, eq=False)
class Recording:
    """A track with everything by which the same music is recognized in other tracks."""

    track: Track
    #: Name of the catalogue that its id is from.
    id_space: str | None = None
    #: Checksum of its features.
    content: bytes | None = None

    def marks(self) -> Iterator[tuple[Evidence, Hashable]]:
        """Yield values that are equal for tracks of the same music."""
        if self.id_space:
            yield "id", (self.id_space, (self.track.original or self.track).id)
        audio = self.track.audio
        if isinstance(audio, Path):
            yield "audio file", str(audio.resolve())
        elif isinstance(audio, Signal):
            yield "audio file", audio.identity
        if self.content is not None:
            yield "features", self.content


@dataclass(frozen=True)
class Same:
    """Tracks of the same music, at least two."""

    #: Their indices, ascending.
    members: tuple[int, ...]
    #: How they were recognized.
    evidence: tuple[Evidence, ...]


def recordings(tracks: Tracks, split: Split, features: Features) -> list[Recording]:
    """Return all tracks with their ids' catalogues, and the checksums of their features.

    Args:
        tracks: the tracks.
        split: their sets; the features of tracks in no set are not read.
        features: their features.
    """
    spaces = {name: origin.id_space for name, origin in tracks.origins.items()}
    part_of = split.part_of
    return [
        Recording(
            track,
            spaces.get(track.source or ""),
            hashlib.sha256(features[index].tobytes()).digest() if index in part_of else None,
        )
        for index, track in enumerate(tracks.tracks)
    ]


def find_same(some: Sequence[Recording], alike: Iterable[tuple[int, int]] = ()) -> list[Same]:
    """Return the tracks that are the same music, in the order of their first members.

    Args:
        some: the tracks.
        alike: pairs of tracks that sound the same.
    """
    links: list[tuple[int, int, Evidence]] = [(first, second, "sound") for first, second in alike]
    first_of: dict[tuple[Evidence, Hashable], int] = {}
    for index, recording in enumerate(some):
        for evidence, value in recording.marks():
            first = first_of.setdefault((evidence, value), index)
            if first != index:
                links.append((first, index, evidence))
    root = list(range(len(some)))

    def find(index: int) -> int:
        while root[index] != index:
            root[index] = root[root[index]]
            index = root[index]
        return index

    for first, second, _ in links:
        low, high = sorted((find(first), find(second)))
        root[high] = low
    members: dict[int, set[int]] = defaultdict(set)
    evidence_of: dict[int, set[Evidence]] = defaultdict(set)
    for first, second, evidence in links:
        members[find(first)] |= {first, second}
        evidence_of[find(first)].add(evidence)
    return [
        Same(tuple(sorted(members[key])), tuple(one for one in EVIDENCE if one in evidence_of[key]))
        for key in sorted(members)
    ]


def sounding_alike(tracks: Sequence[Track], dataset: str | Mapping[str, str]) -> list[tuple[int, int]]:
    """Return the pairs of tracks whose audio files sound the same, see `musicemo.features.find_alike`.

    The fingerprints are kept in the cache. Files that cannot be decoded are left out with a warning.

    Args:
        tracks: the tracks; those without an audio file are not compared.
        dataset: name of the dataset's folder in the cache; see `musicemo.features.with_features`.

    Raises:
        InputError: none of a dataset's files can be decoded.
        RunError: the cache cannot be written.
    """
    by_dataset: dict[str, dict[int, Path]] = defaultdict(dict)
    for index, track in enumerate(tracks):
        if isinstance(track.audio, Path):
            by_dataset[cache_name(track, dataset)][index] = track.audio
    prints = {
        index: bits
        for name, audio in by_dataset.items()
        for index, bits in sound_prints(audio, {index: tracks[index].id for index in audio}, name).items()
    }
    places = sorted(prints)
    return [
        (places[first], places[second]) for first, second in find_alike([prints[place] for place in places])
    ]


def artist_key(name: str) -> str:
    """Return text that is the same for the spellings of an artist's name.

    Case, accents, punctuation, spaces, an article ("The Beatles", "Beatles, The"), "&" for "and", and guests ("feat.")
    do not matter.
    """
    text = normalize("NFKD", str(name)).casefold().strip()
    text = _ARTICLE.sub("", _GUEST.sub("", text)).replace("&", " and ").replace("+", " and ")
    return "".join(char for char in text if char.isalnum()) or text
