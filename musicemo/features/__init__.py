"""From audio to arrays: decoding, feature extraction, time grids, the cache, and feature files."""

from typing import TYPE_CHECKING

from musicemo._lazy import lazy
from musicemo.features._arrays import StoredArray, npz_arrays, npz_header
from musicemo.features._batch import ExtractionReport, Failure, extract, failure_of
from musicemo.features._decode import decode, load, resample
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
from musicemo.features._find import SONG_SUFFIXES, find_songs, songs_in
from musicemo.features._npy import ArrayHeader, array_header, map_array
from musicemo.features._pack import Pack, PackedArray
from musicemo.features._recipe import Recipe
from musicemo.features._sound import find_alike, sound_prints
from musicemo.features._store import Extracted, FeatureStore, cache_name, side_by_side, with_features
from musicemo.features._stream import Audio, Clip, FeatureSettings, Stream, read_audio
from musicemo.features.melchroma import Analysis, analyse, analyse_signal

if TYPE_CHECKING:
    from musicemo.features.melchroma import frame_count, mel_filters, mel_frequencies, mel_power, transform

__all__ = [
    "SONG_SUFFIXES",
    "Analysis",
    "ArrayHeader",
    "Audio",
    "Clip",
    "Extracted",
    "ExtractionReport",
    "Failure",
    "FeatureFile",
    "FeatureInfo",
    "FeatureSettings",
    "FeatureStore",
    "Pack",
    "PackedArray",
    "Recipe",
    "Source",
    "StoredArray",
    "Stream",
    "analyse",
    "analyse_signal",
    "array_header",
    "cache_folder",
    "cache_name",
    "check_features",
    "decode",
    "describe",
    "extract",
    "failure_of",
    "find_alike",
    "find_songs",
    "frame_count",
    "load",
    "map_array",
    "mel_filters",
    "mel_frequencies",
    "mel_power",
    "npz_arrays",
    "npz_header",
    "read_array",
    "read_audio",
    "read_features",
    "read_with_info",
    "resample",
    "side_by_side",
    "songs_in",
    "sound_prints",
    "transform",
    "with_features",
    "write_features",
]

__getattr__ = lazy(
    __name__,
    dict.fromkeys(
        ("frame_count", "mel_filters", "mel_frequencies", "mel_power", "transform"),
        "musicemo.features.melchroma",
    ),
)
