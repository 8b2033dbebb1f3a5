"""The mel spectrogram and the chromagram of the original study, exact and fast, and beats."""

from musicemo.features.melchroma._analysis import (
    Analysis,
    analyse,
    analyse_signal,
    decibels,
    find_beats,
    spectra,
)
from musicemo.features.melchroma._spectrum import frame_count, mel_filters, mel_power, transform

__all__ = [
    "Analysis",
    "analyse",
    "analyse_signal",
    "decibels",
    "find_beats",
    "frame_count",
    "mel_filters",
    "mel_power",
    "spectra",
    "transform",
]
