"""Experiment files as plain tables: inheritance, overrides, and where in which file every key was written."""

from musicemo._toml.keys import Key, Origin, dotted, keys_within, nested
from musicemo._toml.reading import read
from musicemo._toml.source import Source
from musicemo._toml.writing import inline, write

__all__ = ["Key", "Origin", "Source", "dotted", "inline", "keys_within", "nested", "read", "write"]
