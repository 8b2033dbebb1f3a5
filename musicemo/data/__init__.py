"""From a dataset to batches: tasks, tracks, splits, scaling, padding."""

from musicemo.data.augmentation import AppliedAugmentation, Augmentations, check_examples
from musicemo.data.batches import Batch, Batches, Proportions
from musicemo.data.description import (
    Description,
    declared_rows,
    describe,
    stream_columns,
    stream_rows,
    stream_sizes,
)
from musicemo.data.features import Features, normalize_rows, rows_numbers, rows_text
from musicemo.data.identity import DataIdentity, features_checksums, identify_data
from musicemo.data.joining import Joined, JoiningSettings, split_joined
from musicemo.data.overlap import Correlation, Overlap, compare_datasets
from musicemo.data.pairs import Pairs, find_partners, pair_groups
from musicemo.data.provenance import overlaps
from musicemo.data.same import EVIDENCE, Recording, Same, artist_key, find_same, recordings, sounding_alike
from musicemo.data.scaling import Scaling, ScalingSettings, fit_scaling
from musicemo.data.series import TimedRatings, at_times, smoothed
from musicemo.data.splits import PARTS, Split, SplitSettings, hash_ids, make_split, read_split, strata
from musicemo.data.summary import Summary, find_shared, summarize
from musicemo.data.tasks import HeadSettings, Task, TaskSettings, columns, labelled, make_task, tags_of
from musicemo.data.tracks import Tracks, collect

__all__ = [
    "EVIDENCE",
    "PARTS",
    "AppliedAugmentation",
    "Augmentations",
    "Batch",
    "Batches",
    "Correlation",
    "DataIdentity",
    "Description",
    "Features",
    "HeadSettings",
    "Joined",
    "JoiningSettings",
    "Overlap",
    "Pairs",
    "Proportions",
    "Recording",
    "Same",
    "Scaling",
    "ScalingSettings",
    "Split",
    "SplitSettings",
    "Summary",
    "Task",
    "TaskSettings",
    "TimedRatings",
    "Tracks",
    "artist_key",
    "at_times",
    "check_examples",
    "collect",
    "columns",
    "compare_datasets",
    "declared_rows",
    "describe",
    "features_checksums",
    "find_partners",
    "find_same",
    "find_shared",
    "fit_scaling",
    "hash_ids",
    "identify_data",
    "labelled",
    "make_split",
    "make_task",
    "normalize_rows",
    "overlaps",
    "pair_groups",
    "read_split",
    "recordings",
    "rows_numbers",
    "rows_text",
    "smoothed",
    "sounding_alike",
    "split_joined",
    "strata",
    "stream_columns",
    "stream_rows",
    "stream_sizes",
    "summarize",
    "tags_of",
]
