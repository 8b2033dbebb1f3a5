"""The mel spectrogram and the chromagram of the original study, exact and fast, and beats.

The module of the spectrum, which imports numba and scipy, is imported when one of its names is first used: reading an
experiment does without it.
"""

from typing import TYPE_CHECKING

from musicemo._lazy import lazy
from musicemo.features.melchroma._analysis import (
    Analysis,
    analyse,
    analyse_signal,
    decibels,
    find_beats,
    spectra,
)

if TYPE_CHECKING:
    from musicemo.features.melchroma._spectrum import (
        frame_count,
        mel_filters,
        mel_frequencies,
        mel_power,
        transform,
    )

__all__ = [
    "Analysis",
    "analyse",
    "analyse_signal",
    "decibels",
    "find_beats",
    "frame_count",
    "mel_filters",
    "mel_frequencies",
    "mel_power",
    "spectra",
    "transform",
]

_SPECTRUM = ("frame_count", "mel_filters", "mel_frequencies", "mel_power", "transform")

__getattr__ = lazy(__name__, dict.fromkeys(_SPECTRUM, "musicemo.features.melchroma._spectrum"))
