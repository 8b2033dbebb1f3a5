"""The run directory on disk: write it, find it, read it back."""

from musicemo.runs.directory import RunDirectory, find_run
from musicemo.runs.environment import describe_environment
from musicemo.runs.reading import RecordedRun
from musicemo.runs.recording import gathered, recorded, unforeseen
from musicemo.runs.replicates import find_replicates

__all__ = [
    "RecordedRun",
    "RunDirectory",
    "describe_environment",
    "find_replicates",
    "find_run",
    "gathered",
    "recorded",
    "unforeseen",
]
