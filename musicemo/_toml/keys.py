"""A key of an experiment file: how it is written, and where."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from musicemo.errors import InputError

__all__ = ["Key", "Origin", "are_tables", "dotted", "keys_within", "nested"]

Key = tuple[str | int, ...]


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
        InputError: it is no TOML key.
    """
    try:
        table = tomllib.loads(f"{name} = 0")
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{name!r} is no TOML key: {error}") from error
    inner = table
    while isinstance(child := next(iter(inner.values())), dict):
        inner = child
    inner[next(iter(inner))] = value
    return table


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
