"""Audio to features: decoding, beats, mel spectrograms and chromagrams, by frame and by beat."""

from musicemo.features._batch import ExtractionReport, Failure, extract, failure_of
from musicemo.features._decode import load
from musicemo.features._files import (
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
from musicemo.features._find import find_songs, songs_in
from musicemo.features._npy import ArrayHeader, array_header, map_array
from musicemo.features._pack import Pack
from musicemo.features._recipe import Recipe
from musicemo.features.melchroma import (
    Analysis,
    analyse,
    analyse_signal,
    frame_count,
    mel_filters,
    mel_power,
    transform,
)

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
    "frame_count",
    "load",
    "map_array",
    "mel_filters",
    "mel_power",
    "read_array",
    "read_features",
    "read_with_info",
    "songs_in",
    "transform",
    "write_features",
]
