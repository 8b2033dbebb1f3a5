"""Music made from numbers: genres, artists, scores, instruments, and what listeners make of it."""

from musicemo_builtin.datasets._synthesis.catalogue import GENRES, VERSION, Clip, make, slot, stream
from musicemo_builtin.datasets._synthesis.listeners import EMOTIONS, OVER_TIME, Cues, Panel, perceive
from musicemo_builtin.datasets._synthesis.timbres import RATE
from musicemo_builtin.datasets._synthesis.words import INSTRUMENTS, MOODS, instruments_of, moods_of

__all__ = [
    "EMOTIONS",
    "GENRES",
    "INSTRUMENTS",
    "MOODS",
    "OVER_TIME",
    "RATE",
    "VERSION",
    "Clip",
    "Cues",
    "Panel",
    "instruments_of",
    "make",
    "moods_of",
    "perceive",
    "slot",
    "stream",
]
