"""An experiment file and all that it extends."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from musicemo._toml.keys import MOST_LEVELS, Key, Origin, is_too_deep, keys_within
from musicemo._toml.source import Source
from musicemo.errors import InputError

__all__ = ["read"]

#: What a line consists of: comments and strings, in which brackets and line ends mean nothing, and single characters.
_TOKEN = re.compile(
    r'#[^\n]*|"""(?:\\.|[^\\])*?"""{1,3}|\'\'\'.*?\'\'\'\'{0,2}|"(?:\\.|[^"\\\n])*"|\'[^\'\n]*\'|[^#"\'\[\]{}\n]+|.',
    re.DOTALL,
)


def read(file: Path, overrides: list[str]) -> Source:
    """Read an experiment file with all that it extends, and apply ``KEY=VALUE`` overrides.

    Raises:
        InputError: a file that is missing or no TOML, a circle of `extends`, an override of the wrong form.
    """
    source = Source(file)
    for path, table, lines in _chain(file):
        table.pop("extends", None)
        source.lay(table, {key: Origin(path, line) for key, line in lines.items()}.__getitem__)
    source.override(overrides)
    return source


def _chain(file: Path) -> list[tuple[Path, dict[str, Any], dict[Key, int]]]:
    """Return the file and what it extends, the outermost base first, each with the lines of its keys."""
    chain = [(file, *_parse(file))]
    paths = [file]
    visited = {file.resolve()}
    while (base := chain[0][1].get("extends")) is not None:
        origin = f"{paths[0]}:{chain[0][2][('extends',)]}: extends"
        if not isinstance(base, str):
            raise InputError(f"{origin}: must be the name of a file, not {base!r}")
        path = paths[0].parent / base
        if not _is_file(path):
            raise InputError(f"{origin}: there is no file {path}")
        if path.resolve() in visited:
            raise InputError(f"{origin}: goes round in a circle: {' <- '.join(map(str, [path, *paths]))}")
        visited.add(path.resolve())
        paths.insert(0, path)
        chain.insert(0, (path, *_parse(path)))
    return chain


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that no file can have
        return False


def _parse(path: Path) -> tuple[dict[str, Any], dict[Key, int]]:
    """Return the tables of a file, and the line of every key."""
    text = _text(path)
    try:
        table = tomllib.loads(text)
    except ValueError as error:  # an integer of too many digits, too
        raise InputError(f"{path}: is not valid TOML: {error}") from error
    except RecursionError as error:
        raise InputError(_too_deep(path, text)) from error
    if is_too_deep(table):
        raise InputError(_too_deep(path, text))
    return table, _lines(text)


def _too_deep(path: Path, text: str) -> str:
    """Return the error of a file that is nested too deep, with the line of its deepest statement."""

    def depth(statement: str) -> int:
        tokens = _TOKEN.findall(statement)
        level = deepest = 0
        for token in tokens:
            level += (token in ("[", "{")) - (token in ("]", "}"))
            deepest = max(deepest, level)
        return deepest + statement.count(".")

    line = max(_statements(text), key=lambda found: depth(found[1]), default=(1, ""))[0]
    return f"{path}:{line}: is nested more than {MOST_LEVELS} levels deep"


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: is not UTF-8 text: {error}") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise InputError(f"{path}: cannot be read: {error}") from error


def _statements(text: str) -> Iterator[tuple[int, str]]:
    """Yield each statement, a header or a key with its value, with the line on which it begins."""
    line = start = 1
    begin = depth = 0
    for token in _TOKEN.finditer(text):
        found = token.group()
        if found in ("[", "{"):
            depth += 1
        elif found in ("]", "}"):
            depth -= 1
        line += found.count("\n")
        if found == "\n" and depth <= 0:
            yield start, text[begin : token.end()]
            start, begin, depth = line, token.end(), 0
    yield start, text[begin:]


def _lines(text: str) -> dict[Key, int]:
    """Return the line of every key of a valid file: where the statement begins that makes it."""
    lines: dict[Key, int] = {}
    header: Key = ()
    #: Array of tables -> the index of its last element.
    last: dict[Key, int] = {}
    for line, statement in _statements(text):
        table = tomllib.loads(statement)
        if not table:
            continue  # blank, or a comment
        if not statement.lstrip().startswith("["):
            for key in keys_within(table, header):
                lines.setdefault(key, line)
            continue
        header, inner = (), table
        while inner:
            ((name, child),) = inner.items()
            header = (*header, name)
            lines.setdefault(header, line)
            if isinstance(child, list):  # of [[...]], the end of the header
                last[header] = last.get(header, -1) + 1
                child = child[0]
            if header in last:
                header = (*header, last[header])
                lines.setdefault(header, line)
            inner = child
    return lines
