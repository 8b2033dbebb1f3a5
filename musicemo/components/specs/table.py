"""A component's table: read against its constructor's signature, and written so that it reads back the same."""

from __future__ import annotations

import copy
import dataclasses
import functools
import inspect
import json
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import InitErrorDetails, PydanticSerializationError, to_jsonable_python

from musicemo import toml
from musicemo.components import registry
from musicemo.contracts import PROVIDED
from musicemo.errors import InputError

__all__ = ["RESERVED", "check_defaults", "plain", "read_table", "table_schema"]

#: Kind of component -> keys of its table that are not its parameters.
RESERVED = {"loss": ("type", "weight")}
#: Errors of a path that does not exist, relative to the working directory.
_PATH_ERRORS = ("path_not_file", "path_not_directory", "path_exists", "parent_does_not_exist")

#: Gives the absolute path of a path at a key of the table.
Anchor = Callable[[toml.Key, Path], Path]


@functools.cache
def table_schema(factory: Any, kind: str) -> type[BaseModel]:
    """Return the schema of a component's table.

    Raises:
        InputError: its signature cannot be read, or has a parameter or a default that no table can hold.
    """
    place = registry.place(factory)
    for name in inspect.signature(factory).parameters:
        if name in RESERVED.get(kind, ("type",)) and name not in PROVIDED[kind]:
            raise InputError(
                f"the parameter {name!r} of {place} cannot be set: {name} is a key of its table that musicemo uses; "
                "rename the parameter"
            )
    schema = registry.schema(factory, PROVIDED[kind])
    check_defaults(schema, place)
    return schema


def check_defaults(schema: type[BaseModel], place: str) -> None:
    """Check that every default is what its own annotation allows: it is written beside each run and read again.

    Raises:
        InputError: one is not.
    """
    table: dict[str, Any] = {}
    for name, field in schema.model_fields.items():
        if field.is_required():
            continue
        default = field.get_default(call_default_factory=True, validated_data={})
        try:
            value = plain({name: default})
        except PydanticSerializationError as error:
            raise InputError(_bad_default(name, place, f"TOML cannot hold {default!r}")) from error
        table |= value
    try:
        registry.validate(schema, table)
    except ValidationError as error:
        for details in error.errors():
            if details["loc"][0] in table:
                name = toml.dotted(details["loc"])
                raise InputError(
                    _bad_default(name, place, f"{details['msg']}, not {details['input']!r}")
                ) from error


def _bad_default(name: str, place: str, reason: str) -> str:
    return (
        f"the default of {name!r} of {place} is not what its own annotation allows: {reason}; defaults are written "
        "beside each run and read again"
    )


def read_table(
    schema: type[BaseModel], table: Mapping[str, Any], place: str, anchor: Anchor = lambda _, path: path
) -> dict[str, Any]:
    """Return the parameters of a component's table, those of nested tables too with absolute paths.

    Args:
        schema: of the table.
        table: as it is written.
        place: where the component is defined, for an error.
        anchor: what paths are relative to.

    Raises:
        pydantic.ValidationError: the table does not fit, or holds a key that nothing takes.
        InputError: what was read could not be written and read again.
    """
    written = copy.deepcopy(dict(table))
    try:
        validated = registry.validate(schema, written)
    except ValidationError as error:  # a path that must exist does so relative to where it is written
        paths = [one["loc"] for one in error.errors() if one["type"] in _PATH_ERRORS]
        if not paths:
            raise
        for loc in paths:
            _replace(written, _keys(written, loc), anchor)
        validated = registry.validate(schema, written)
    ignored: list[InitErrorDetails] = []
    relative: list[toml.Key] = []
    for key, value in _unmatched(written, validated):
        if isinstance(value, Path):
            relative.append(key)
        else:
            ignored.append({"type": "extra_forbidden", "loc": key, "input": value})
    if ignored:
        raise ValidationError.from_exception_data(schema.__name__, ignored)
    if relative:
        for key in relative:
            _replace(written, key, anchor)
        validated = registry.validate(schema, written)
    parameters = {
        name: _anchored(getattr(validated, name), (name,), anchor) for name in type(validated).model_fields
    }
    _check_reads_back(schema, parameters, place)
    return parameters


def _check_reads_back(schema: type[BaseModel], parameters: Mapping[str, Any], place: str) -> None:
    try:
        table = plain(parameters)
        again = registry.validate(schema, table)
    except (PydanticSerializationError, ValidationError) as error:
        details = error.errors()[0] if isinstance(error, ValidationError) else None
        reason = f"{toml.dotted(details['loc'])}: {details['msg']}" if details else str(error)
        raise InputError(
            f"the parameters of {place} cannot be written beside a run and read again: {reason}"
        ) from error
    after = plain({name: getattr(again, name) for name in type(again).model_fields})
    for name in table | after:
        if repr(table.get(name)) != repr(after.get(name)):
            raise InputError(
                f"{name!r} of {place} is {table.get(name)!r} and reads back as {after.get(name)!r}; a run must repeat "
                "with the table that is written beside it"
            )


def _unmatched(written: Any, value: Any, key: toml.Key = ()) -> Iterator[tuple[toml.Key, Any]]:
    """Yield the keys of a table that nothing took, with what is written; and those that are paths, with the path."""
    if isinstance(value, Path) and isinstance(written, str):
        yield key, value
    elif isinstance(value, set | frozenset) and isinstance(written, list):
        if value and all(isinstance(one, Path) for one in value):
            yield from (((*key, index), Path(one)) for index, one in enumerate(written))
    elif isinstance(value, list | tuple) and isinstance(written, list) and len(value) == len(written):
        for index, inner in enumerate(written):
            yield from _unmatched(inner, value[index], (*key, index))
    elif isinstance(written, dict) and (members := _members(value)) is not None:
        for name, inner in written.items():
            if name in members:
                yield from _unmatched(inner, members[name], (*key, name))
            else:
                yield (*key, name), inner


def _members(value: Any) -> Mapping[str, Any] | None:
    """Return the values in a table's place by their keys, or None for something that keeps them in its own way."""
    if isinstance(value, BaseModel):
        names = {name: getattr(value, name) for name in type(value).model_fields}
        fields = type(value).model_fields.items()
        aliases = {field.alias: names[name] for name, field in fields if field.alias}
        choices = {field.validation_alias: names[name] for name, field in fields}
        return {**{str(name): inner for name, inner in choices.items() if name}, **aliases, **names} | (
            value.model_extra or {}
        )
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(to_jsonable_python(name)): inner for name, inner in value.items()}
    return None


def _keys(table: Any, loc: tuple[str | int, ...]) -> toml.Key:
    """Return the parts of a pydantic location that are keys; the others name the branch of a union."""
    keys: list[str | int] = []
    for part in loc:
        inside = isinstance(table, dict) and part in table
        if inside or (isinstance(table, list) and isinstance(part, int) and part < len(table)):
            keys.append(part)
            table = table[part]
    return tuple(keys)


def _replace(table: Any, key: toml.Key, anchor: Anchor) -> None:
    """Replace a path in a table by the absolute one."""
    for part in key[:-1]:
        table = table[part]
    table[key[-1]] = str(anchor(key, Path(table[key[-1]])))


def _anchored(value: Any, key: toml.Key, anchor: Anchor) -> Any:
    """Return a parameter in which every path, those of defaults too, is absolute."""
    if isinstance(value, Path):
        return anchor(key, value)
    if isinstance(value, list):
        return [_anchored(inner, (*key, index), anchor) for index, inner in enumerate(value)]
    if isinstance(value, tuple):
        inner = [_anchored(inner, (*key, index), anchor) for index, inner in enumerate(value)]
        return value._make(inner) if hasattr(value, "_make") else type(value)(inner)
    if isinstance(value, set | frozenset):
        return type(value)(_anchored(inner, key, anchor) for inner in value)
    if isinstance(value, dict):
        return {name: _anchored(inner, (*key, name), anchor) for name, inner in value.items()}
    if isinstance(value, BaseModel) or (dataclasses.is_dataclass(value) and not isinstance(value, type)):
        changed = {
            name: anchored
            for name, inner in (_members(value) or {}).items()
            if hasattr(value, name) and (anchored := _anchored(inner, (*key, name), anchor)) != inner
        }
        if isinstance(value, BaseModel):
            return value.model_copy(update=changed) if changed else value
        moved = copy.copy(value) if changed else value
        for name, inner in changed.items():
            object.__setattr__(moved, name, inner)
        return moved
    return value


def plain(value: Any) -> Any:
    """Return a value as TOML can hold it: paths as text, tuples as arrays, sets in order, None left out.

    Raises:
        PydanticSerializationError: TOML cannot hold it.
    """
    if isinstance(value, BaseModel):
        value = value.model_dump(by_alias=True, warnings=False)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        leading = {"type": value["type"]} if "type" in value else {}
        return {
            name
            if isinstance(name, str) and type(name) is str
            else next(iter(to_jsonable_python({name: 0}))): plain(inner)
            for name, inner in {**leading, **value}.items()
            if inner is not None
        }
    if isinstance(value, set | frozenset):
        return sorted((plain(inner) for inner in value), key=json.dumps)
    if isinstance(value, list | tuple):
        inner = [plain(one) for one in value]
        if None in inner:
            raise PydanticSerializationError("an array of TOML cannot hold None")
        return inner
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, Path):
        return str(value)
    if value is None or type(value) in (str, int, float, bool):
        return value
    return to_jsonable_python(value)
