"""Audio to features: decoding, beats, mel spectrograms and chromagrams, frame-wise and beat-synchronous."""

from musicemo.audio._analysis import Analysis, analyse, analyse_signal
from musicemo.audio._decode import load
from musicemo.audio._recipe import Recipe

__all__ = ["Analysis", "Recipe", "analyse", "analyse_signal", "load"]
