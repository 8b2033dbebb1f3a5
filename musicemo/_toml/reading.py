"""An experiment file and all that it extends."""

from __future__ import annotations

import io
import tomllib
from pathlib import Path
from typing import Any

from musicemo._toml.keys import Key, Origin, keys_within
from musicemo._toml.source import Source
from musicemo.errors import InputError

__all__ = ["read"]


def read(file: Path, overrides: list[str]) -> Source:
    """Read an experiment file with all that it extends, and apply ``KEY=VALUE`` overrides.

    Raises:
        InputError: a file that is missing or no TOML, a circle of `extends`, an override of the wrong form.
    """
    source = Source(file)
    for path in _chain(file):
        table = _parse(path)
        table.pop("extends", None)
        source.lay(table, _origins(path).__getitem__)
    for override in overrides:
        source.override(override)
    return source


def _chain(file: Path) -> list[Path]:
    """Return the file and what it extends, the outermost base first."""
    chain = [file]
    while (base := _parse(chain[0]).get("extends")) is not None:
        origin = f"{chain[0]}:{_lines(chain[0])[('extends',)]}: extends"
        if not isinstance(base, str):
            raise InputError(f"{origin}: must be the name of a file, not {base!r}")
        path = chain[0].parent / base
        if not path.is_file():
            raise InputError(f"{origin}: there is no file {path}")
        if path.resolve() in {other.resolve() for other in chain}:
            raise InputError(f"{origin}: goes round in a circle: {' <- '.join(map(str, [path, *chain]))}")
        chain.insert(0, path)
    return chain


def _parse(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(_text(path))
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path}: is not valid TOML: {error}") from error


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: is not UTF-8 text: {error}") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error


def _origins(path: Path) -> dict[Key, Origin]:
    return {key: Origin(path, line) for key, line in _lines(path).items()}


def _lines(path: Path) -> dict[Key, int]:
    """Return the line of every key: the one that makes the key appear as the file is parsed line by line."""
    lines: dict[Key, int] = {}
    start, text = 1, ""
    for number, line in enumerate(io.StringIO(_text(path)), start=1):
        text += line
        try:
            table = tomllib.loads(text)
        except tomllib.TOMLDecodeError:
            continue  # in the middle of a value of several lines, which began on line `start`
        for key in keys_within(table):
            lines.setdefault(key, start)
        start = number + 1
    return lines
