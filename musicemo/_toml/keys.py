"""A key of an experiment file: how it is written, and where."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from musicemo.errors import InputError

__all__ = ["MOST_LEVELS", "Key", "Origin", "are_tables", "dotted", "is_too_deep", "keys_within", "nested"]

Key = tuple[str | int, ...]

#: How deep tables and arrays may be nested.
MOST_LEVELS = 64

_NAME = r"""(?:[A-Za-z0-9_-]+|"(?:\\[^\n]|[^"\\\n])*"|'[^'\n]*')"""
_KEY = re.compile(rf"[ \t]*{_NAME}[ \t]*(?:\.[ \t]*{_NAME}[ \t]*)*")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a key was given: a line of a file, or an override on the command line."""

    file: Path | None
    line: int = 0
    override: str = ""

    @property
    def folder(self) -> Path:
        """The folder that relative paths are relative to."""
        return self.file.parent.resolve() if self.file else Path.cwd()

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.file else f"--set {self.override}"


def dotted(key: Key) -> str:
    """Return a key as it is read aloud: ``tasks.valence.loss[1].weight``."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in key).lstrip(".")


def nested(name: str, value: Any) -> dict[str, Any]:
    """Return the table that a dotted key and its value stand for.

    Raises:
        InputError: it is no TOML key, or too deep.
    """
    try:
        table = tomllib.loads(f"{name} = 0")
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{name!r} is no TOML key: {error}") from error
    if not _KEY.fullmatch(name):
        raise InputError(f"{name!r} is no TOML key")
    inner = table
    while isinstance(child := next(iter(inner.values())), dict):
        inner = child
    inner[next(iter(inner))] = value
    if is_too_deep(table):
        raise InputError(f"{name!r}: is nested more than {MOST_LEVELS} levels deep")
    return table


def is_too_deep(value: Any) -> bool:
    """Tell whether tables and arrays are nested deeper than `MOST_LEVELS`."""
    level = [value]
    for _ in range(MOST_LEVELS + 1):
        tables = [inner for inner in level if isinstance(inner, dict | list)]
        if not tables:
            return False
        level = [child for inner in tables for child in (inner.values() if isinstance(inner, dict) else inner)]
    return True


def keys_within(value: Any, key: Key = ()) -> Iterator[Key]:
    """Yield every key in tables and arrays, those within others too, each with `key` before it."""
    children: list[tuple[str | int, Any]] = []
    if isinstance(value, Mapping):
        children = list(value.items())
    elif isinstance(value, list):
        children = list(enumerate(value))
    for name, child in children:
        yield (*key, name)
        yield from keys_within(child, (*key, name))


def are_tables(value: Any) -> bool:
    """Tell whether a value is an array of tables."""
    return isinstance(value, list) and bool(value) and all(isinstance(inner, dict) for inner in value)
