"""Audio to features: decoding, beats, mel spectrograms and chromagrams, frame-wise and beat-synchronous."""

from musicemo.audio._analysis import Analysis, analyse, analyse_signal
from musicemo.audio._batch import ExtractionReport, Failure, extract
from musicemo.audio._cache import cache_folder
from musicemo.audio._decode import load
from musicemo.audio._files import (
    FeatureFile,
    FeatureInfo,
    Source,
    describe,
    read_array,
    read_features,
    write_features,
)
from musicemo.audio._find import find_songs, songs_in
from musicemo.audio._pack import Pack
from musicemo.audio._recipe import Recipe

__all__ = [
    "Analysis",
    "ExtractionReport",
    "Failure",
    "FeatureFile",
    "FeatureInfo",
    "Pack",
    "Recipe",
    "Source",
    "analyse",
    "analyse_signal",
    "cache_folder",
    "describe",
    "extract",
    "find_songs",
    "load",
    "read_array",
    "read_features",
    "songs_in",
    "write_features",
]
