"""From a dataset to batches: tasks, tracks, splits, scaling, padding."""

from musicemo.data.batches import Batch, Batches, Proportions
from musicemo.data.description import Description, describe, stream_columns, stream_sizes
from musicemo.data.features import Features, normalize_rows, rows_numbers, rows_text
from musicemo.data.identity import DataIdentity, identify_data
from musicemo.data.joining import Joined, JoiningSettings, split_joined
from musicemo.data.scaling import Scaling, ScalingSettings, fit_scaling
from musicemo.data.splits import PARTS, Split, SplitSettings, make_split, read_split, strata
from musicemo.data.summary import Summary, find_equal, summarize
from musicemo.data.tasks import HeadSettings, Task, TaskSettings, columns, labelled, make_task, tags_of
from musicemo.data.tracks import Tracks, collect

__all__ = [
    "PARTS",
    "Batch",
    "Batches",
    "DataIdentity",
    "Description",
    "Features",
    "HeadSettings",
    "Joined",
    "JoiningSettings",
    "Proportions",
    "Scaling",
    "ScalingSettings",
    "Split",
    "SplitSettings",
    "Summary",
    "Task",
    "TaskSettings",
    "Tracks",
    "collect",
    "columns",
    "describe",
    "find_equal",
    "fit_scaling",
    "identify_data",
    "labelled",
    "make_split",
    "make_task",
    "normalize_rows",
    "read_split",
    "rows_numbers",
    "rows_text",
    "split_joined",
    "strata",
    "stream_columns",
    "stream_sizes",
    "summarize",
    "tags_of",
]
