"""Tags of a clip: the instruments that play, and words for its mood."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["INSTRUMENTS", "MOODS", "instruments_of", "moods_of"]

#: Tag -> the sounds of `timbres`.
_FAMILIES: dict[str, frozenset[str]] = {
    "guitar": frozenset(("acoustic guitar", "banjo", "electric guitar", "lead guitar", "jazz guitar")),
    "keyboard": frozenset(("piano", "electric piano", "organ", "bell")),
    "strings": frozenset(("strings", "fiddle", "cello", "pizzicato")),
    "wind": frozenset(("flute", "oboe", "harmonica", "saxophone", "trumpet")),
    "synthesizer": frozenset(("saw synth", "square synth", "pad", "synth bass", "acid bass", "sub bass")),
    "voice": frozenset(("voice", "shout", "rap")),
    "bass": frozenset(("finger bass", "pick bass", "upright bass", "synth bass", "acid bass", "sub bass")),
}
_PLAYERS = ("chords", "lead", "bass", "pad")

INSTRUMENTS = tuple(sorted((*_FAMILIES, "drums")))

#: Tag -> emotion -> the lowest and the highest value that an ideal listener gives.
_WORDS: dict[str, dict[str, tuple[float, float]]] = {
    "aggressive": {"energy": (0.6, 1.0), "valence": (0.0, 0.45)},
    "calm": {"energy": (0.0, 0.4)},
    "danceable": {"danceability": (0.6, 1.0)},
    "energetic": {"energy": (0.6, 1.0)},
    "happy": {"valence": (0.6, 1.0)},
    "relaxing": {"energy": (0.0, 0.4), "valence": (0.5, 1.0)},
    "sad": {"energy": (0.0, 0.5), "valence": (0.0, 0.4)},
}

MOODS = tuple(_WORDS)


def instruments_of(sections: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Return the tags of the instruments that play in a clip.

    Args:
        sections: Of each section of the clip, role -> instrument, and the groove; empty names do not play.
    """
    sounds = {played[role] for played in sections for role in _PLAYERS}
    tags = [tag for tag, family in _FAMILIES.items() if family & sounds]
    return tuple(sorted([*tags, *(["drums"] if any(played["groove"] for played in sections) else [])]))


def moods_of(perceived: Mapping[str, float]) -> tuple[str, ...]:
    """Return the words for the emotions that an ideal listener hears, each from 0 to 1."""
    return tuple(
        word
        for word, ranges in _WORDS.items()
        if all(low <= perceived[emotion] <= high for emotion, (low, high) in ranges.items())
    )
