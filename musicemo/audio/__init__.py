"""Audio to features: decoding, beats, mel spectrograms and chromagrams, by frame and by beat."""

from musicemo.audio._analysis import Analysis, analyse, analyse_signal
from musicemo.audio._batch import ExtractionReport, Failure, extract, failure_of
from musicemo.audio._decode import load
from musicemo.audio._files import (
    FeatureFile,
    FeatureInfo,
    Source,
    cache_folder,
    check_features,
    describe,
    read_array,
    read_features,
    read_with_info,
    write_features,
)
from musicemo.audio._find import find_songs, songs_in
from musicemo.audio._npy import ArrayHeader, array_header, map_array
from musicemo.audio._pack import Pack
from musicemo.audio._recipe import Recipe

__all__ = [
    "Analysis",
    "ArrayHeader",
    "ExtractionReport",
    "Failure",
    "FeatureFile",
    "FeatureInfo",
    "Pack",
    "Recipe",
    "Source",
    "analyse",
    "analyse_signal",
    "array_header",
    "cache_folder",
    "check_features",
    "describe",
    "extract",
    "failure_of",
    "find_songs",
    "load",
    "map_array",
    "read_array",
    "read_features",
    "read_with_info",
    "songs_in",
    "write_features",
]
