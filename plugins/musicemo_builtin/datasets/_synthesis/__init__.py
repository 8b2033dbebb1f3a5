"""Music made from numbers: genres, artists, scores, instruments, and what listeners make of it."""

from musicemo_builtin.datasets._synthesis.catalogue import GENRES, VERSION, Clip, make, slot, stream
from musicemo_builtin.datasets._synthesis.listeners import EMOTIONS, Cues, Panel, perceive
from musicemo_builtin.datasets._synthesis.timbres import RATE

__all__ = [
    "EMOTIONS",
    "GENRES",
    "RATE",
    "VERSION",
    "Clip",
    "Cues",
    "Panel",
    "make",
    "perceive",
    "slot",
    "stream",
]
