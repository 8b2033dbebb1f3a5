"""Experiment files as plain tables: inheritance, overrides, and where in which file every key was written."""

from __future__ import annotations

import copy
import io
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.items import Item, Table

from musicemo.errors import InputError, nearest

__all__ = ["Key", "Origin", "Source", "dotted", "inline", "nested", "read", "write"]

Key = tuple[str | int, ...]

#: Keys that say the same thing in two ways: the later one wins.
_RIVALS: dict[Key, str] = {("seed",): "seeds", ("seeds",): "seed"}


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


@dataclass(slots=True)
class Source:
    """The merged tables of an experiment, and the origin of every key."""

    file: Path
    table: dict[str, Any] = field(default_factory=dict)
    origins: dict[Key, Origin] = field(default_factory=dict)
    #: Axis -> value of the variant that this is, of a file with a matrix.
    variant: dict[str, Any] = field(default_factory=dict)

    def copy(self) -> Source:
        """Return a source that can be changed without changing this one."""
        return Source(self.file, copy.deepcopy(self.table), dict(self.origins), dict(self.variant))

    def lay(self, table: Mapping[str, Any], origin: Callable[[Key], Origin]) -> None:
        """Lay a table over this one: tables merge, all else replaces, and so does a component of another type.

        Args:
            table: the keys to lay over; it is copied.
            origin: where each key of it was given.
        """
        _merge(self.table, copy.deepcopy(table), self.origins, {key: origin(key) for key in _keys(table)})

    def override(self, text: str) -> None:
        """Lay ``KEY=VALUE`` over the tables; a value that is no TOML is text.

        Raises:
            InputError: it has another form.
        """
        self.lay(_override(text), lambda _: Origin(None, 0, text))

    def drop(self, name: str) -> Any:
        """Take a key of the file out, and return its value; None where it is not there."""
        value = self.table.get(name)
        _drop(self.table, self.origins, (name,))
        return value

    def origin(self, key: Key) -> Origin:
        """Return the origin of a key, or of the nearest table above it that was given."""
        while key and key not in self.origins:
            key = key[:-1]
        return self.origins.get(key, Origin(self.file, 1))

    def error(self, key: Key, message: str) -> str:
        """Return a line that names the file, the line and the key."""
        place = f"{dotted(key)}: " if key else ""
        return f"{self.origin(key)}: {place}{message}"

    @contextmanager
    def blaming(self, *key: str | int) -> Iterator[None]:
        """Put the file, line and key before every problem that is raised inside."""
        try:
            yield
        except InputError as error:
            raise InputError(*(self.error(key, problem) for problem in error.problems)) from error


def dotted(key: Key) -> str:
    """Return a key as it is read aloud: ``tasks.valence.loss[1].weight``."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in key).lstrip(".")


def read(file: Path, overrides: list[str]) -> Source:
    """Read an experiment file with all that it extends, and apply ``KEY=VALUE`` overrides.

    Raises:
        InputError: a file that is missing or no TOML, a circle of `extends`, an override of the wrong form.
    """
    source = Source(file)
    for path in _chain(file):
        table = _parse(path)
        table.pop("extends", None)
        _merge(source.table, table, source.origins, _origins(path))
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
        for key in _keys(table):
            lines.setdefault(key, start)
        start = number + 1
    return lines


def _keys(value: Any, key: Key = ()) -> Iterator[Key]:
    children: list[tuple[str | int, Any]] = []
    if isinstance(value, Mapping):
        children = list(value.items())
    elif isinstance(value, list):
        children = list(enumerate(value))
    for name, child in children:
        yield (*key, name)
        yield from _keys(child, (*key, name))


def _merge(
    old: dict[str, Any],
    new: Mapping[str, Any],
    old_origins: dict[Key, Origin],
    new_origins: Mapping[Key, Origin],
    key: Key = (),
) -> None:
    """Lay `new` over `old`: tables merge, all else replaces, and so does a component of another type.

    A table of tables over an array of tables merges each with the one that it names.
    """
    types = old.get("type"), new.get("type")
    if all(isinstance(kind, str) for kind in types) and len(set(types)) > 1:
        for name in list(old):
            _drop(old, old_origins, (*key, name))
    for name, value in new.items():
        path = (*key, name)
        rival = _RIVALS.get(path)
        if rival is not None and rival not in new:
            _drop(old, old_origins, (rival,))
        before: Any = old.get(name)
        if isinstance(value, dict) and isinstance(before, dict):
            _merge(before, value, old_origins, new_origins, path)
        elif _are_tables(before) and isinstance(value, dict) and _are_tables(list(value.values())):
            for item, table in value.items():
                index = _place(before, item, f"{new_origins[(*path, item)]}: {dotted(path)}")
                moved = {
                    (*path, index, *inner[len(path) + 1 :]): origin
                    for inner, origin in new_origins.items()
                    if inner[: len(path) + 1] == (*path, item)
                }
                _merge(before[index], table, old_origins, moved, (*path, index))
        else:
            _forget(old_origins, path)
            old[name] = value  # in the place that it had: the order of a matrix's axes is that of its names
            old_origins[path] = new_origins[path]
            old_origins.update({(*path, *child): new_origins[(*path, *child)] for child in _keys(value)})


def _are_tables(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(inner, dict) for inner in value)


def _place(tables: list[dict[str, Any]], item: str, where: str) -> int:
    """Return the place of a table in an array, given its number, counted from 0, its name or its type."""
    names = [str(table.get("name", table.get("type", ""))) for table in tables]
    numbers = [str(index) for index in range(len(tables))]
    for known in (numbers, names):
        if known.count(item) == 1:
            return known.index(item)
    listed = ", ".join(f"{number} or {name}" for number, name in zip(numbers, names, strict=True))
    problem = f"several are called {item!r}" if item in names else f"has no {item!r}{nearest(item, names)}"
    raise InputError(f"{where}: {problem} ({listed})")


def _drop(table: dict[str, Any], origins: dict[Key, Origin], path: Key) -> None:
    """Forget a key and where it, and all in it, was given."""
    if table.pop(str(path[-1]), None) is not None:
        _forget(origins, path)


def _forget(origins: dict[Key, Origin], path: Key) -> None:
    for key in [key for key in origins if key[: len(path)] == path]:
        del origins[key]


def _override(text: str) -> dict[str, Any]:
    name, equals, raw = text.partition("=")
    if not equals:
        raise InputError(f"--set {text}: must have the form KEY=VALUE, for example training.epochs=3")
    try:
        given = tomllib.loads(f"value = {raw}")
    except tomllib.TOMLDecodeError:
        given = {}
    value = given["value"] if len(given) == 1 else raw
    try:
        return nested(name, value)
    except InputError as error:
        raise InputError(f"--set {text}: {error}") from error


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


def write(resolved: Mapping[str, Any], source: Source | None = None) -> str:
    """Write a resolved experiment as TOML; with a source, a comment at every value says where it came from."""
    document = tomlkit.document()
    for name, value in resolved.items():
        document.add(name, _item(value, (name,), source))
    return tomlkit.dumps(document)


def inline(value: Any) -> str:
    """Return a value as it stands behind a key, in one line."""
    return _inline(value).as_string()


def _item(value: Any, key: Key, source: Source | None) -> Item:
    """Return a table for the file's own tables and for each task, and a value in one line for all else."""
    if len(key) == 1 and _are_tables(value):
        array = tomlkit.aot()
        for index, inner in enumerate(value):
            array.append(_table(inner, (*key, index), source))
        return array
    if isinstance(value, Mapping) and (len(key) == 1 or key[:-1] == ("tasks",)):
        return _table(value, key, source)
    item: Item = _inline(value)
    if source is not None:
        item.comment(_comment(source, key))
    return item


def _table(value: Mapping[str, Any], key: Key, source: Source | None) -> Table:
    table: Table = tomlkit.table(is_super_table=key == ("tasks",))
    for name, inner in value.items():
        table.add(name, _item(inner, (*key, name), source))
    return table


def _comment(source: Source, key: Key) -> str:
    """Return the origins of a key and of all in it, in one line."""
    if key not in source.origins:  # the key may be what another one stands for
        key = {("seeds",): ("seed",), ("tasks", *key[1:2], "head"): ("head",)}.get(key, key)
    lines: dict[Path, list[int]] = {}
    overrides: dict[str, None] = {}
    for origin in (origin for other, origin in source.origins.items() if other[: len(key)] == key):
        if origin.file:
            lines.setdefault(origin.file, []).append(origin.line)
        else:
            overrides[str(origin)] = None
    files = [f"{file}:{min(found)}" + f"-{max(found)}" * (len(set(found)) > 1) for file, found in lines.items()]
    text = ", ".join([*files, *overrides]) or "default"
    return "".join(char if char.isprintable() else " " for char in text)


def _inline(value: Any) -> Item:
    if isinstance(value, Mapping):
        table = tomlkit.inline_table()
        for name, inner in value.items():
            table.append(name, _inline(inner))
        return table
    if isinstance(value, list):
        array = tomlkit.array()
        for inner in value:
            array.append(_inline(inner))
        return array
    item: Item = tomlkit.item(value)
    return item
