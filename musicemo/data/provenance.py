"""Corpora: whether pretrained features have seen the songs of a dataset."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

__all__ = ["overlaps"]

#: Corpus or collection -> the collections that its songs are drawn from.
_DRAWN_FROM = {
    "deam": ("fma", "jamendo", "medleydb"),
    "emomusic": ("fma",),
    "emotify": ("magnatune",),
    "fma-full": ("fma",),
    "fma-large": ("fma-full",),
    "fma-medium": ("fma-large",),
    "fma-small": ("fma-medium",),
    "magnatagatune": ("magnatune",),
    "mtg-jamendo": ("jamendo",),
    "musiccaps": ("audioset",),
}

#: Other name -> name of a corpus.
_ALIASES = {
    "free-music-archive": "fma",
    "million-song-dataset": "msd",
    "mtat": "magnatagatune",
    "mtg": "mtg-jamendo",
    "mtt": "magnatagatune",
}


def overlaps(pretrained_on: Iterable[str], drawn_from: Iterable[str]) -> Iterator[str]:
    """Yield where weights may have seen the songs of a dataset, one clause per collection that both have in common.

    Args:
        pretrained_on: Corpora that the weights have seen; case, spaces and common abbreviations do not matter.
        drawn_from: Corpora that the songs of the dataset are drawn from.
    """
    songs = [_normalized(name) for name in drawn_from]
    origins = set().union(*map(_origins, songs))
    reported: set[str] = set()
    for corpus in map(_normalized, pretrained_on):
        shared = _origins(corpus) & origins
        # A collection that contains another shared one adds nothing.
        nearest = shared - set().union(*(_origins(name) - {name} for name in shared))
        for name in sorted(nearest - reported):
            if name == corpus:
                yield f"{corpus}, from which the dataset's songs are drawn"
            elif name in songs:
                yield f"{corpus}, which is drawn from {name}, as the dataset's songs are"
            else:
                yield f"{corpus}, which has songs of {name}, as the dataset has"
        reported |= shared


def _normalized(name: str) -> str:
    slug = re.sub(r"[\s_]+", "-", name.strip().lower())
    return _ALIASES.get(slug, slug)


def _origins(corpus: str) -> set[str]:
    """Return a corpus and all that it is drawn from, directly or not."""
    return {corpus}.union(*map(_origins, _DRAWN_FROM.get(corpus, ())))
