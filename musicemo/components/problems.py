"""Pydantic's errors in the words of the person who wrote the experiment file."""

from __future__ import annotations

import typing
from collections.abc import Sequence
from dataclasses import is_dataclass
from typing import Any

from pydantic import BaseModel
from pydantic_core import ErrorDetails
from typing_extensions import is_typeddict

from musicemo import toml
from musicemo.errors import nearest

__all__ = ["describe_problem"]

#: Errors whose message needs no "not 3" at its end.
_UNKNOWN = ("extra_forbidden", "unexpected_keyword_argument")
_COMPLETE = (
    *_UNKNOWN,
    "missing",
    "missing_argument",
    "missing_keyword_only_argument",
    "union_tag_invalid",
    "union_tag_not_found",
)


def describe_problem(
    source: toml.Source,
    prefix: toml.Key,
    schema: type[BaseModel],
    details: ErrorDetails,
    own: Sequence[str] = (),
) -> str:
    """Turn a pydantic error into a line with file, line, key, and what is allowed.

    Args:
        source: the merged tables.
        prefix: the table that was validated.
        schema: what it was validated against.
        details: the error.
        own: keys of that table that are the core's, and not in the schema.
    """
    key = (*prefix, *_existing(source, prefix, details["loc"]))
    message = details["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    if details["type"] in _UNKNOWN:
        allowed = sorted(_fields(schema, details["loc"][:-1]) | set(own if len(details["loc"]) == 1 else ()))
        message = f"unknown key{nearest(str(key[-1]), allowed)} (allowed: {', '.join(allowed) or 'none'})"
    elif details["type"].startswith("missing"):
        key = (*key, details["loc"][-1])
        message = "is required"
    elif details["type"] in ("union_tag_invalid", "union_tag_not_found"):
        tags = sorted(_tags(schema, details["loc"]))
        found = details.get("ctx", {}).get("tag")
        key, message = (*key, "type"), f"must be one of {', '.join(tags)}"
        if found is not None:
            message += f", not {found!r}{nearest(str(found), tags)}"
    elif details["type"] in ("dict_type", "model_type", "model_attributes_type"):
        message = "must be a table"
    if details["type"] not in _COMPLETE and not isinstance(details["input"], dict | list):
        message += f", not {details['input']!r}"
    return source.error(key, message)


def _existing(source: toml.Source, prefix: toml.Key, loc: Sequence[str | int]) -> list[str | int]:
    """Return the parts of a pydantic location that are keys; the others name the branch of a union."""
    table: Any = source.table
    for part in prefix:
        table = table.get(part, {}) if isinstance(table, dict) else table[part]
    existing: list[str | int] = []
    for part in loc:
        inside = isinstance(table, dict) and part in table
        if inside or (isinstance(table, list) and isinstance(part, int) and part < len(table)):
            existing.append(part)
            table = table[part]
    return existing


def _fields(schema: Any, loc: Sequence[str | int]) -> set[str]:
    """Return the keys of the table at a pydantic location."""
    return {name for model in _models(schema, loc) for name in _keys_of(model)}


def _keys_of(table: Any) -> dict[str, Any]:
    """Return the keys of a model, a dataclass or a typed dictionary with their types; nothing of anything else."""
    if isinstance(table, type) and issubclass(table, BaseModel):
        return {field.alias or name: field.annotation for name, field in table.model_fields.items()}
    if is_dataclass(table) or is_typeddict(table):
        return typing.get_type_hints(table, include_extras=True)
    return {}


def _tags(schema: Any, loc: Sequence[str | int]) -> set[str]:
    """Return the values that ``type`` can have in the tables at a pydantic location."""
    return {tag for model in _models(schema, loc) for tag in _own_tags(model)}


def _own_tags(schema: Any) -> tuple[str, ...]:
    field = getattr(schema, "model_fields", {}).get("type")
    return typing.get_args(field.annotation) if field else ()


def _models(schema: Any, loc: Sequence[str | int]) -> list[Any]:
    """Return the tables that may stand at a pydantic location, which names the branches of unions too."""
    if isinstance(schema, type) and (
        issubclass(schema, BaseModel) or is_dataclass(schema) or is_typeddict(schema)
    ):
        if not loc:
            return [schema]
        keys = _keys_of(schema)
        if loc[0] in keys:
            return _models(keys[str(loc[0])], loc[1:])
        return _models(schema, loc[1:]) if loc[0] == schema.__name__ else []
    origin, inner = typing.get_origin(schema), typing.get_args(schema)
    if origin is typing.Annotated:
        return _models(inner[0], loc)
    if origin in (dict, list, tuple):
        return _models(inner[-1], loc[1:])
    if loc and (tagged := [branch for branch in inner if loc[0] in _own_tags(branch)]):
        return _models(tagged[0], loc[1:])
    return [model for branch in inner for model in _models(branch, loc)]
