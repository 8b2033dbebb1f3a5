"""Experiment files as plain tables: inheritance, overrides, and where in which file every key was written."""

from musicemo._toml.keys import Key, Origin, dotted, keys_within, nested
from musicemo._toml.merging import Request
from musicemo._toml.reading import read
from musicemo._toml.source import Source, parse_value
from musicemo._toml.writing import inline, write

__all__ = [
    "Key",
    "Origin",
    "Request",
    "Source",
    "dotted",
    "inline",
    "keys_within",
    "nested",
    "parse_value",
    "read",
    "write",
]
