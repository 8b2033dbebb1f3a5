"""Tables over tables."""

from __future__ import annotations

import copy
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from musicemo._toml.keys import Key, Origin, are_tables, dotted, keys_within
from musicemo.errors import InputError, nearest

__all__ = ["Request", "drop", "lay", "unmet"]

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


def lay(
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


def unmet(
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
    if are_tables(value):
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
    arrays = layer if are_tables(layer) else base if are_tables(base) and _is_numbered(layer) else None
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
                drop(old, old_origins, (*key, name))
        if key and (other or not replace_types):
            old_origins[key] = new_origins.get(key, new_origins[(*key, "type")])
    for name, value in new.items():
        path = (*key, name)
        rival = _RIVALS.get(path)
        if rival is not None and rival not in new:
            drop(old, old_origins, (rival,))
        before: Any = old.get(name)
        if not isinstance(value, dict):
            _forget(old_origins, path, before)
            old[name] = value  # in the place that it had: the order of a matrix's axes is that of its names
            old_origins[path] = new_origins[path]
            old_origins.update({(*path, *child): new_origins[(*path, *child)] for child in keys_within(value)})
            continue
        numbered = any(isinstance(part, int) for part in value)
        if numbered and are_tables(before):
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


def drop(table: dict[str, Any], origins: dict[Key, Origin], path: Key) -> None:
    """Forget a key and where it, and all in it, was given."""
    name: Any = path[-1]
    if name in table:
        _forget(origins, path, table.pop(name))


def _forget(origins: dict[Key, Origin], path: Key, value: Any) -> None:
    """Forget where a key and all in its value were written."""
    origins.pop(path, None)
    for child in keys_within(value, path):
        origins.pop(child, None)
