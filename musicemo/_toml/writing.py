"""Tables as the text of an experiment file, with where each value came from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.items import Item, Table

from musicemo._toml.keys import Key, are_tables
from musicemo._toml.source import Source

__all__ = ["inline", "write"]


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
    if len(key) == 1 and are_tables(value):
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
