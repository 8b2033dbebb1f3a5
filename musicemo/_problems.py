"""Pydantic's errors in the words of the person who wrote the experiment file."""

from __future__ import annotations

import typing
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from musicemo import _toml
from musicemo.errors import nearest

__all__ = ["describe_problem"]


def describe_problem(
    source: _toml.Source, prefix: _toml.Key, schema: type[BaseModel], details: ErrorDetails
) -> str:
    """Turn a pydantic error into a line with file, line, key, and what is allowed."""
    found = tuple(part for part in details["loc"] if part in _existing(source, prefix, details["loc"]))
    key = (*prefix, *found)
    message = details["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    if details["type"] == "extra_forbidden":
        allowed = sorted(_fields(schema, details["loc"][:-1]))
        message = f"unknown key{nearest(str(key[-1]), allowed)} (allowed: {', '.join(allowed) or 'none'})"
    elif details["type"] == "missing":
        key = (*prefix, *details["loc"])
        message = "is required"
    elif not isinstance(details["input"], dict | list):
        message += f", not {details['input']!r}"
    return source.error(key, message)


def _existing(source: _toml.Source, prefix: _toml.Key, loc: Sequence[str | int]) -> set[str | int]:
    """Return the parts of a pydantic location that are keys; the others name the branch of a union."""
    table: Any = source.table
    for part in prefix:
        table = table[part]
    existing: set[str | int] = set()
    for part in loc:
        inside = isinstance(table, dict) and part in table
        if inside or (isinstance(table, list) and isinstance(part, int) and part < len(table)):
            existing.add(part)
            table = table[part]
    return existing


def _fields(schema: Any, loc: Sequence[str | int]) -> set[str]:
    """Return the keys of the table at a pydantic location."""
    if isinstance(schema, type) and issubclass(schema, BaseModel):
        if not loc:
            return set(schema.model_fields)
        field = schema.model_fields.get(str(loc[0]))
        return _fields(field.annotation, loc[1:]) if field else _fields(schema, loc[1:])
    found: set[str] = set()
    for inner in typing.get_args(schema):
        tag = getattr(getattr(inner, "model_fields", {}).get("type"), "annotation", None)
        tags = typing.get_args(tag)
        if loc and tags and loc[0] in tags:
            return _fields(inner, loc[1:])
        found |= _fields(inner, loc if not isinstance(schema, dict) else loc[1:])
    return found
