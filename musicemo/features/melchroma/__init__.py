"""The mel spectrogram and the chromagram of the original study, exact and fast, and beats."""

from musicemo.features.melchroma._analysis import Analysis, analyse, analyse_signal

__all__ = ["Analysis", "analyse", "analyse_signal"]
