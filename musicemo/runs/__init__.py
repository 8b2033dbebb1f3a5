"""The run directory on disk."""

from musicemo.runs.directory import RunDirectory, find_run
from musicemo.runs.environment import describe_environment
from musicemo.runs.recording import recorded

__all__ = ["RunDirectory", "describe_environment", "find_run", "recorded"]
