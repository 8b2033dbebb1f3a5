"""Tables over tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from musicemo._toml.keys import Key, Origin, are_tables, dotted, keys_within
from musicemo.errors import InputError, nearest

__all__ = ["drop", "merge"]

#: Keys that say the same thing in two ways: the later one wins.
_RIVALS: dict[Key, str] = {("seed",): "seeds", ("seeds",): "seed"}


def merge(
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
            drop(old, old_origins, (*key, name))
        old_origins[key] = new_origins.get(key, new_origins[(*key, "type")])
    for name, value in new.items():
        path = (*key, name)
        rival = _RIVALS.get(path)
        if rival is not None and rival not in new:
            drop(old, old_origins, (rival,))
        before: Any = old.get(name)
        if isinstance(value, dict) and isinstance(before, dict):
            merge(before, value, old_origins, new_origins, path)
        elif are_tables(before) and isinstance(value, dict) and are_tables(list(value.values())):
            for item, table in value.items():
                index = _place(before, item, f"{new_origins[(*path, item)]}: {dotted(path)}")
                moved = {
                    (*path, index, *inner[len(path) + 1 :]): origin
                    for inner, origin in new_origins.items()
                    if inner[: len(path) + 1] == (*path, item)
                }
                merge(before[index], table, old_origins, moved, (*path, index))
        else:
            _forget(old_origins, path)
            old[name] = value  # in the place that it had: the order of a matrix's axes is that of its names
            old_origins[path] = new_origins[path]
            old_origins.update({(*path, *child): new_origins[(*path, *child)] for child in keys_within(value)})


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


def drop(table: dict[str, Any], origins: dict[Key, Origin], path: Key) -> None:
    """Forget a key and where it, and all in it, was given."""
    if table.pop(str(path[-1]), None) is not None:
        _forget(origins, path)


def _forget(origins: dict[Key, Origin], path: Key) -> None:
    for key in [key for key in origins if key[: len(path)] == path]:
        del origins[key]
