"""Experiment files as tables: reading with bases and overrides, the origin of every key, and writing."""

from __future__ import annotations

import copy
import re
import tomllib
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.items import Item, Table

from musicemo.errors import InputError, nearest

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

Key = tuple[str | int, ...]

#: How deep tables and arrays may be nested.
_MOST_LEVELS = 64

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
        raise InputError(f"{name!r} is not a valid TOML key: {error}") from error
    if not _KEY.fullmatch(name):
        raise InputError(f"{name!r} is not a valid TOML key")
    inner = table
    while isinstance(child := next(iter(inner.values())), dict):
        inner = child
    inner[next(iter(inner))] = value
    if _is_too_deep(table):
        raise InputError(f"{name!r}: is nested more than {_MOST_LEVELS} levels deep")
    return table


def _is_too_deep(value: Any) -> bool:
    """Tell whether tables and arrays are nested deeper than `_MOST_LEVELS`."""
    level = [value]
    for _ in range(_MOST_LEVELS + 1):
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


def _are_tables(value: Any) -> bool:
    """Tell whether a value is an array of tables."""
    return isinstance(value, list) and bool(value) and all(isinstance(inner, dict) for inner in value)


#: Keys that say the same thing in two ways: the later one wins.
_RIVALS: dict[Key, str] = {("seed",): "seeds", ("seeds",): "seed"}
#: Tables of a task whose keys are names of the dataset's: a class called "type" is not the type of a component.
_NAMES = ("classes", "target")

_ABSENT = object()


@dataclass(frozen=True, slots=True)
class Request:
    """A value that a layer asks for; an array is one value."""

    key: Key
    value: Any
    origin: Origin
    #: Index of the table, of those of the layer.
    part: int = 0


def _lay(
    old: dict[str, Any],
    origins: dict[Key, Origin],
    layer: Sequence[tuple[Mapping[str, Any], Callable[[Key], Origin]]],
) -> list[Request]:
    """Lay the tables of one layer over `old`: tables merge, all else replaces, and so does a component of another type.

    The order of the tables within the layer does not matter for ``type``: a component is replaced first, and takes all
    other keys of the layer afterwards. Of a key that is set twice, the later value is taken. A table of tables
    over an array of tables merges each with the one that it names.

    Args:
        old: the tables below, which are changed.
        origins: where each key of them was written; changed likewise.
        layer: tables, and where each key of them was written.

    Returns:
        Every value that the layer asks for, in its order.

    Raises:
        InputError: a table names an element that an array does not have.
    """
    combined: dict[Any, Any] = {}
    combined_origins: dict[Key, Origin] = {}
    requests: list[Request] = []
    for part, (table, origin) in enumerate(layer):
        places: dict[Key, Origin] = {}
        located = _locate(table, old, combined, places, origin)
        requests += _requests(located, places, part)
        _merge(combined, copy.deepcopy(located), combined_origins, places, replace_types=False)
    _merge(old, combined, origins, combined_origins)
    return requests


def _unmet(
    requests: Sequence[Request], table: Mapping[str, Any], *, may_be_replaced: bool = True
) -> list[Request]:
    """Return the requests whose values are not in a table.

    Args:
        requests: the earliest first.
        table: the tables as they are after all layers.
        may_be_replaced: whether a request may be replaced by a later one for the same key.
    """
    lost: list[Request] = []
    later: set[Key] = set()
    for request in reversed(requests):
        replaced = later if may_be_replaced else frozenset[Key]()
        if not _holds(table, request.key, request.value, replaced):
            lost.append(request)
        later.add(request.key)
        if request.key in _RIVALS:
            later.add((_RIVALS[request.key],))
    return lost[::-1]


def _requests(
    table: Mapping[Any, Any], origins: Mapping[Key, Origin], part: int, key: Key = ()
) -> Iterator[Request]:
    for name, value in table.items():
        path = (*key, name)
        if isinstance(value, dict) and value:
            yield from _requests(value, origins, part, path)
        else:
            yield Request(path, value, origins[path], part)


def _holds(table: Any, key: Key, value: Any, replaced: Container[Key]) -> bool:
    """Tell whether a key has a value, apart from what was replaced."""
    if key in replaced:
        return True
    current = table
    for part in key:
        inside = isinstance(current, dict) or (isinstance(current, list) and isinstance(part, int))
        try:
            current = current[part] if inside else _ABSENT
        except LookupError:
            return False
    if _are_tables(value):
        return (
            isinstance(current, list)
            and len(current) == len(value)
            and all(_holds(table, (*key, index), inner, replaced) for index, inner in enumerate(value))
        )
    if isinstance(value, dict):
        return isinstance(current, dict) and all(
            _holds(table, (*key, name), inner, replaced) for name, inner in value.items()
        )
    return repr(current) == repr(value)  # nan equals itself, and true is not 1


def _locate(
    table: Mapping[str, Any],
    base: Any,
    layer: Any,
    places: dict[Key, Origin],
    origin: Callable[[Key], Origin],
    written: Key = (),
    key: Key = (),
) -> dict[Any, Any]:
    """Return a table in which the elements of arrays are named by their index, an integer.

    Args:
        table: the table.
        base: what it is laid over.
        layer: what the same layer lays over that before.
        places: where each key of the result was written; it grows.
        origin: where each key of the table was written.
        written: the key of the table as it was written.
        key: its key in the result.
    """
    arrays = layer if _are_tables(layer) else base if _are_tables(base) and _is_numbered(layer) else None
    numbered = arrays is not None and bool(table) and all(isinstance(inner, dict) for inner in table.values())
    located: dict[Any, Any] = {}
    for name, value in table.items():
        before = (*written, name)
        index = _place(arrays, layer, name, f"{origin(before)}: {dotted(written)}") if numbered else name
        path = (*key, index)
        places.setdefault(path, origin(before))
        if isinstance(value, dict):
            inner = _locate(value, _at(base, index), _at(layer, index), places, origin, before, path)
            located.setdefault(index, {}).update(inner)
        else:
            located[index] = value
            places.update({(*path, *child): origin((*before, *child)) for child in keys_within(value)})
    return located


def _is_numbered(value: Any) -> bool:
    """Tell whether a layer leaves an array as it is, but for elements named by their index."""
    return value is _ABSENT or (isinstance(value, dict) and any(isinstance(name, int) for name in value))


def _at(value: Any, part: str | int) -> Any:
    if isinstance(value, list) and isinstance(part, int) and part < len(value):
        return value[part]
    return value.get(part, _ABSENT) if isinstance(value, dict) else _ABSENT


def _place(tables: Any, layer: Any, item: str, where: str) -> int:
    """Return the place of a table in an array, given its number, counted from 0, its name or its type."""
    renamed = [
        {**table, **inner} if isinstance(inner := _at(layer, index), dict) else table
        for index, table in enumerate(tables)
    ]
    numbers = [str(index) for index in range(len(tables))]
    names, later = (
        [str(table.get("name", table.get("type", ""))) for table in state] for state in (tables, renamed)
    )
    for choices in (numbers, names, later):
        if choices.count(item) == 1:
            return choices.index(item)
    listed = ", ".join(f"{number} or {name}" for number, name in zip(numbers, names, strict=True))
    problem = f"several are called {item!r}" if item in names else f"has no {item!r}{nearest(item, names)}"
    raise InputError(f"{where}: {problem} ({listed})")


def _merge(
    old: dict[Any, Any],
    new: Mapping[Any, Any],
    old_origins: dict[Key, Origin],
    new_origins: Mapping[Key, Origin],
    key: Key = (),
    *,
    replace_types: bool = True,
) -> None:
    """Lay a table whose array elements are named by index over another.

    Without `replace_types`, both are of one layer.
    """
    if isinstance(new.get("type"), str) and not (key[:1] == ("tasks",) and key[2:] in [(n,) for n in _NAMES]):
        other = isinstance(old.get("type"), str) and old["type"] != new["type"]
        if other and replace_types:
            for name in list(old):
                _drop(old, old_origins, (*key, name))
        if key and (other or not replace_types):
            old_origins[key] = new_origins.get(key, new_origins[(*key, "type")])
    for name, value in new.items():
        path = (*key, name)
        rival = _RIVALS.get(path)
        if rival is not None and rival not in new:
            _drop(old, old_origins, (rival,))
        before: Any = old.get(name)
        if not isinstance(value, dict):
            _forget(old_origins, path, before)
            old[name] = value  # in the place that it had: the order of a matrix's axes is that of its names
            old_origins[path] = new_origins[path]
            old_origins.update({(*path, *child): new_origins[(*path, *child)] for child in keys_within(value)})
            continue
        numbered = any(isinstance(part, int) for part in value)
        if numbered and _are_tables(before):
            for index, table in value.items():
                inner = (*path, index)
                _merge(before[index], table, old_origins, new_origins, inner, replace_types=replace_types)
            continue
        if numbered and replace_types:
            index = next(iter(value))
            raise InputError(
                f"{new_origins[(*path, index)]}: {dotted((*path, index))}: the array is replaced, together with "
                f"{dotted(key)}, by a component of another type"
            )
        if not isinstance(before, dict):
            _forget(old_origins, path, before)
            old[name] = {}
            old_origins[path] = new_origins[path]
        _merge(old[name], value, old_origins, new_origins, path, replace_types=replace_types)


def _drop(table: dict[str, Any], origins: dict[Key, Origin], path: Key) -> None:
    """Forget a key and where it, and all in it, was given."""
    name: Any = path[-1]
    if name in table:
        _forget(origins, path, table.pop(name))


def _forget(origins: dict[Key, Origin], path: Key, value: Any) -> None:
    """Forget where a key and all in its value were written."""
    origins.pop(path, None)
    for child in keys_within(value, path):
        origins.pop(child, None)


#: Characters of an override that are quoted in an error about its form.
_LONGEST = 300


@dataclass(slots=True)
class Source:
    """The merged tables of an experiment, and the origin of every key."""

    file: Path
    table: dict[str, Any] = field(default_factory=dict)
    origins: dict[Key, Origin] = field(default_factory=dict)
    #: Axis -> value of the variant that this is, of a file with a matrix.
    variant: dict[str, Any] = field(default_factory=dict)

    #: Axis -> the part of the variant's name that stands for its value.
    labels: dict[str, str] = field(default_factory=dict)

    #: ``name`` of the search and number of the ``trial``, of the experiment of a trial or of the best one.
    search: dict[str, Any] = field(default_factory=dict)

    #: The files of code that it names, as they were read: another process executes the same.
    code: dict[Path, bytes] = field(default_factory=dict)

    def copy(self) -> Source:
        """Return a source that can be changed without changing this one."""
        return replace(
            self,
            table=copy.deepcopy(self.table),
            origins=dict(self.origins),
            variant=dict(self.variant),
            labels=dict(self.labels),
            search=dict(self.search),
        )

    def lay(self, table: Mapping[str, Any], origin: Callable[[Key], Origin]) -> list[Request]:
        """Lay a table over this one: tables merge, all else replaces, and so does a component of another type.

        Args:
            table: the keys to lay over; it is copied.
            origin: where each key of it was written.

        Returns:
            The values that it asks for.
        """
        return self.lay_together([(table, origin)])

    def lay_together(
        self, tables: Sequence[tuple[Mapping[str, Any], Callable[[Key], Origin]]]
    ) -> list[Request]:
        """Lay several tables over this one, in any order of a component's type and its other keys.

        Returns:
            The values that they ask for.
        """
        return _lay(self.table, self.origins, tables)

    def override(self, texts: Sequence[str]) -> list[Request]:
        """Lay ``KEY=VALUE`` over the tables; a value that is no TOML is text.

        Returns:
            The values that they ask for.

        Raises:
            InputError: one has another form, or another one takes its value away.
        """
        requests = self.lay_together(
            [(_parse_override(text), lambda _, text=text: Origin(None, 0, text)) for text in texts]  # type: ignore[misc]
        )
        if lost := self.unmet(requests):
            raise InputError(
                *(
                    f"{one.origin}: {dotted(one.key)}: {self.origin(one.key)} replaces this value"
                    for one in lost
                )
            )
        return requests

    def unmet(self, requests: Sequence[Request], *, may_be_replaced: bool = True) -> list[Request]:
        """Return the requests whose values the tables do not have, unless a later one replaces them."""
        return _unmet(requests, self.table, may_be_replaced=may_be_replaced)

    def drop(self, name: str) -> Any:
        """Remove a key of the file and return its value, or None if it is not there."""
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
        """Put the file, line and key before every problem that is raised inside, unless it is placed already."""
        try:
            yield
        except InputError as error:
            if error.placed:
                raise
            placed = InputError(*(self.error(key, problem) for problem in error.problems))
            placed.placed = True
            raise placed from error


def _parse_override(text: str) -> dict[str, Any]:
    names = [text[: match.start()] for match in re.finditer("=", text)]
    if not names:
        raise InputError(f"--set {text}: must have the form KEY=VALUE, for example training.epochs=3")
    if not text.isascii() and text != text.encode("utf-8", "ignore").decode():
        raise InputError(f"--set {text!r}: is not UTF-8 text")
    problems: list[InputError] = []
    for name in names:  # a quoted part of a key may hold an equals sign
        try:
            nested(name, 0)
        except InputError as error:
            problems.append(error)
            continue
        try:
            return nested(name, parse_value(text[len(name) + 1 :]))
        except InputError as error:
            raise InputError(f"--set {_shortened(text)}: {error}") from error
    raise InputError(f"--set {_shortened(text)}: {problems[0]}") from problems[0]


def parse_value(raw: str) -> Any:
    """Return the value that a text is in TOML, or the text if it is none.

    Raises:
        InputError: it is nested too deep, or has too many digits.
    """
    try:
        parsed = tomllib.loads(f"value = {raw}")
    except tomllib.TOMLDecodeError:
        return raw
    except ValueError as error:
        raise InputError(str(error)) from error
    except RecursionError as error:
        raise InputError(f"is nested more than {_MOST_LEVELS} levels deep") from error
    if _is_too_deep(parsed):
        raise InputError(f"is nested more than {_MOST_LEVELS} levels deep")
    return parsed["value"] if len(parsed) == 1 else raw


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


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
            raise InputError(f"{origin}: extends itself: {' <- '.join(map(str, [path, *paths]))}")
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
    if _is_too_deep(table):
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

    line = max(_statements(text), key=lambda statement: depth(statement[1]), default=(1, ""))[0]
    return f"{path}:{line}: is nested more than {_MOST_LEVELS} levels deep"


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
        lexeme = token.group()
        if lexeme in ("[", "{"):
            depth += 1
        elif lexeme in ("]", "}"):
            depth -= 1
        line += lexeme.count("\n")
        if lexeme == "\n" and depth <= 0:
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
    """Return a table for the file's own tables, for each task and a search's space, and else a value in one line."""
    if len(key) == 1 and _are_tables(value):
        array = tomlkit.aot()
        for index, inner in enumerate(value):
            array.append(_table(inner, (*key, index), source))
        return array
    if isinstance(value, Mapping) and (len(key) == 1 or key[:-1] == ("tasks",) or key == ("search", "space")):
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
    files = [
        f"{file}:{min(numbers)}" + f"-{max(numbers)}" * (len(set(numbers)) > 1)
        for file, numbers in lines.items()
    ]
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
