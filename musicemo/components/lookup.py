"""The components that an experiment file names, and validation errors with file, line and key."""

from __future__ import annotations

import dataclasses
import math
import typing
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from typing_extensions import is_typeddict

from musicemo import toml
from musicemo.components import registry
from musicemo.components.documentation import read_parameters
from musicemo.components.local import LocalCode, Policy, is_local
from musicemo.components.spec import (
    Component,
    check_component,
    existing_keys,
    load_factory,
    make_component,
    permission_of,
    split_settings,
    suits,
)
from musicemo.contracts import PROVIDED, ComponentTable, Per, TargetKind, kinds_of
from musicemo.errors import InputError, nearest
from musicemo.files import expanded
from musicemo.settings import plain_message, validate

__all__ = ["Components", "LossTerm", "core_settings", "describe_problem"]

_Settings = TypeVar("_Settings", bound=BaseModel)

_UNKNOWN = ("extra_forbidden", "unexpected_keyword_argument")
#: Errors whose message does not need the value, "not 3", at its end.
_COMPLETE = (
    *_UNKNOWN,
    "missing",
    "missing_argument",
    "missing_keyword_only_argument",
    "union_tag_invalid",
    "union_tag_not_found",
)


class LossTerm(NamedTuple):
    """One term of a loss, as a file configures it."""

    weight: float
    component: Component
    #: Series: ratings that it compares with each other; None for the default of the loss.
    per: Per | None = None

    def to_table(self) -> dict[str, Any]:
        """Return the TOML table, defaults filled in."""
        per = {} if self.per is None else {"per": self.per}
        return {**self.component.to_table(), "weight": self.weight, **per}


def describe_problem(
    source: toml.Source,
    prefix: toml.Key,
    schema: type[BaseModel],
    details: ErrorDetails,
    more_keys: Sequence[str] = (),
) -> str:
    """Return a pydantic error as ``FILE:LINE: key: problem (allowed values)``.

    Args:
        source: The merged tables.
        prefix: Key of the table that was validated.
        schema: Pydantic model of the table.
        details: The error.
        more_keys: Allowed keys of that table that are not in the model.
    """
    key = (*prefix, *_existing(source, prefix, details["loc"]))
    message = plain_message(details)
    if details["type"] in _UNKNOWN:
        allowed = sorted(
            _fields(schema, details["loc"][:-1]) | set(more_keys if len(details["loc"]) == 1 else ())
        )
        message = f"unknown key{nearest(str(key[-1]), allowed)} (allowed: {', '.join(allowed) or 'none'})"
    elif details["type"].startswith("missing"):
        key = (*key, details["loc"][-1])
        message = "is required"
    elif details["type"] in ("union_tag_invalid", "union_tag_not_found"):
        tags = sorted(_tags(schema, details["loc"]))
        tag = details.get("ctx", {}).get("tag")
        key, message = (*key, "type"), f"must be one of {', '.join(tags)}"
        if tag is not None:
            message += f", not {tag!r}{nearest(str(tag), tags)}"
    elif details["type"] in ("dict_type", "model_type", "model_attributes_type"):
        message = "must be a table"
    if details["type"] not in _COMPLETE and not isinstance(details["input"], dict | list):
        message += f", not {details['input']!r}"
    return source.error(key, message)


def _existing(source: toml.Source, prefix: toml.Key, loc: Sequence[str | int]) -> toml.Key:
    """Return the parts of a pydantic location in the table at `prefix` that are keys."""
    table: Any = source.table
    for part in prefix:
        table = table.get(part, {}) if isinstance(table, dict) else table[part]
    return existing_keys(table, loc)


def _fields(schema: Any, loc: Sequence[str | int]) -> set[str]:
    """Return the keys of the table at a pydantic location."""
    return {name for model in _models(schema, loc) for name in _keys_of(model)}


def _keys_of(table: Any) -> dict[str, Any]:
    """Return the keys of a model, a dataclass or a typed dictionary with their types; empty for other types."""
    if isinstance(table, type) and issubclass(table, BaseModel):
        return {field.alias or name: field.annotation for name, field in table.model_fields.items()}
    if is_dataclass(table) or is_typeddict(table):
        return typing.get_type_hints(table, include_extras=True)
    return {}


def _tags(schema: Any, loc: Sequence[str | int]) -> set[str]:
    """Return the allowed values of ``type`` in the tables at a pydantic location."""
    return {tag for model in _models(schema, loc) for tag in _tags_of(model)}


def _tags_of(schema: Any) -> tuple[str, ...]:
    field = getattr(schema, "model_fields", {}).get("type")
    return typing.get_args(field.annotation) if field else ()


def _models(schema: Any, loc: Sequence[str | int]) -> list[Any]:
    """Return the models of the tables at a pydantic location, which also names branches of unions."""
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
    if loc and (tagged := [branch for branch in inner if loc[0] in _tags_of(branch)]):
        return _models(tagged[0], loc[1:])
    return [model for branch in inner for model in _models(branch, loc)]


def core_settings(
    model: type[_Settings], source: toml.Source, key: toml.Key, table: Mapping[str, Any], problems: list[str]
) -> _Settings | None:
    """Return the keys of a component's table that are the core's, or None if they have problems, which are gathered."""
    try:
        return validate(model, {name: table[name] for name in model.model_fields if name in table})
    except ValidationError as error:
        problems += [describe_problem(source, key, model, details) for details in error.errors()]
        return None


class Components:
    """Looks up the components of an experiment and validates their tables.

    Args:
        source: The experiment's tables.
        problems: List that problems are appended to.
        local_code: Treatment of local files of code.
        unneeded: Kinds of components that are not used. They need not be installed and have no `Component.factory`.
    """

    def __init__(
        self,
        source: toml.Source,
        problems: list[str],
        *,
        local_code: Policy = "execute",
        unneeded: Collection[str] = (),
    ) -> None:
        self._source = source
        self._problems = problems
        self._policy = local_code
        self._unneeded = unneeded
        #: Local files of code that the experiment names.
        self.code: list[LocalCode] = []

    def find(
        self,
        kind: str,
        key: toml.Key,
        default: Mapping[str, Any] | None = None,
        ignore: Sequence[str] = (),
        moved: Mapping[str, str] | None = None,
    ) -> Component | None:
        """Return the component of a table, or None if it has a problem.

        Args:
            kind: Kind of component.
            key: Key of its table.
            default: Table to use if the experiment has none.
            ignore: Keys of the table that are not parameters.
            moved: Former key -> the key that replaces it.
        """
        table = self._at(key, default)
        if not isinstance(table, Mapping):
            return None  # the schema has reported it
        name = table.get("type")
        if not isinstance(name, str):
            choices = ", ".join(sorted({claim.name for claim in registry.claims(kind)}))
            expected = f"the name of a {registry.noun(kind)} (installed: {choices})"
            self._problems.append(
                self._source.error((*key, "type"), f"must be {expected}, not {name!r}")
                if "type" in table
                else self._source.error(key, f"needs type = {expected}")
            )
            return None
        try:
            if kind in self._unneeded:
                return Component(kind, name, None, _parameters(table, ignore))
            if is_local(name):
                code = self._local(name, (*key, "type"))
                if self._policy == "read":
                    return self._unexecuted(kind, name, key, code, ignore)
                factory = code.load()
            else:
                code, factory = None, load_factory(kind, name)
            schema = check_component(kind, name, factory)
        except InputError as error:
            self._problems += [self._source.error((*key, "type"), problem) for problem in error.problems]
            return None
        parameters = _parameters(table, ignore)
        permission = permission_of(factory, parameters)
        if permission and self._policy == "refuse":
            self._problems.append(
                self._source.error(
                    (*key, permission),
                    f"lets {name!r} execute code of files that the experiment names; read them, then execute them with "
                    "--trust-local-code",
                )
            )
            return None
        try:
            return make_component(
                kind,
                name,
                factory,
                parameters,
                lambda inner, path: self._anchored((*key, *inner), path),
                code,
                lambda marker, inner: self._nested(marker, (*key, *inner)),
            )
        except ValidationError as error:
            self._problems += [
                self._source.error((*key, *details["loc"]), f"is now {moved[str(details['loc'][0])]}")
                if moved and details["type"] in _UNKNOWN and details["loc"][0] in moved
                else describe_problem(self._source, key, schema, details, ["type", *ignore])
                + _filled_in(kind, details)
                + (
                    f"; type is {name!r}"
                    if self._source.variant and details["type"] == "extra_forbidden"
                    else ""
                )
                for details in error.errors()
            ]
        except _BadPathError as error:
            self._problems += error.problems
        except InputError as error:
            self._problems += [self._source.error(key, problem) for problem in error.problems]
        return None

    def _nested(self, marker: ComponentTable, key: toml.Key) -> Component | None:
        """Return the component of a table inside another component's, or None if it has a problem."""
        further, _ = split_settings(marker, self._at(key, None))
        keys = marker.settings.model_fields if marker.settings else {}
        component = self.find(marker.kind, key, ignore=list(keys))
        if marker.settings is None:
            return component
        try:
            settings = validate(marker.settings, further)
            return dataclasses.replace(component, settings=settings) if component else None
        except ValidationError as error:
            self._problems += [
                describe_problem(self._source, key, marker.settings, details) for details in error.errors()
            ]
            return None

    def _local(self, name: str, key: toml.Key) -> LocalCode:
        """Return the code of a local file.

        Raises:
            InputError: The experiment file itself does not name it, it must not be executed, or it cannot be read.
        """
        origin = self._source.origin(key)
        if origin.file is None:
            raise InputError(f"{name!r}: a file of code must be named in the experiment file itself")
        if self._policy == "refuse":
            raise InputError(
                f"{name!r} is code that came with the experiment; read it, then execute it with --trust-local-code"
            )
        code = LocalCode.find(name, origin.folder, self._source.code)
        if self._policy == "kept" and not code.is_kept_in(self._source.file.parent):
            raise InputError(
                f"{name!r}: {code.path} is not in the run's folder code; --trust-local-code executes only files in it"
            )
        if code not in self.code:
            self.code.append(code)
        return code

    def _unexecuted(
        self, kind: str, name: str, key: toml.Key, code: LocalCode, ignore: Sequence[str]
    ) -> Component:
        """Return a component that is not executed, with its parameters compared with its source.

        Raises:
            InputError: Its file is not Python.
        """
        parameters = _parameters(self._at(key, None), ignore)
        try:
            read = read_parameters(code.content, code.attribute)
        except SyntaxError as error:
            raise InputError(f"{code.path}:{error.lineno}: SyntaxError: {error.msg}") from error
        except ValueError as error:
            raise InputError(f"{code.path}: is not Python: {error}") from error
        if read is None:
            return Component(kind, name, None, parameters, code)
        keys = {one.name: one for one in read if one.name not in PROVIDED[kind]}
        allowed = sorted({*keys, "type", *ignore})
        for unknown in [one for one in parameters if one not in keys]:
            self._problems.append(
                self._source.error(
                    (*key, unknown),
                    f"unknown key{nearest(unknown, allowed)} (allowed: {', '.join(allowed)})",
                )
            )
        for one in keys.values():
            if one.name not in parameters and one.required:
                self._problems.append(self._source.error((*key, one.name), "is required"))
            elif one.name in parameters and "Path" in one.annotation:
                parameters[one.name] = self._anchored_text(parameters[one.name], (*key, one.name))
        defaults = {one.name: one.default for one in keys.values() if one.default is not None}
        return Component(kind, name, None, {**defaults, **parameters}, code, checked=True)

    def _anchored_text(self, value: Any, key: toml.Key) -> Any:
        """Return a value in which every text is made an absolute path."""
        if isinstance(value, str):
            return str(self._anchored(key, Path(value)))
        if isinstance(value, list):
            return [self._anchored_text(inner, (*key, index)) for index, inner in enumerate(value)]
        if isinstance(value, dict):
            return {name: self._anchored_text(inner, (*key, name)) for name, inner in value.items()}
        return value

    def _at(self, key: toml.Key, default: Mapping[str, Any] | None) -> Any:
        table: Any = self._source.table
        for part in key:
            absent = isinstance(table, dict) and part not in table
            table = default if absent else table[part]
        return table

    def losses(self, key: toml.Key, kind: TargetKind | None = None) -> Iterator[LossTerm]:
        """Yield the terms of the loss at a key.

        Args:
            key: Key of a loss or a list of losses, such as ``("tasks", "valence", "loss")``.
            kind: Required kind of target; None for any.
        """
        table = self._at(key, None)
        keys = (
            [(*key, index) for index in range(len(table))]
            if isinstance(table, list)
            else [key]
            if table is not None
            else []
        )
        for place in keys:
            term = self._at(place, None)
            if not isinstance(term, Mapping):
                continue
            weight = term.get("weight", 1.0)
            if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 < weight < math.inf:
                self._problems.append(
                    self._source.error((*place, "weight"), f"must be a finite number above 0, not {weight!r}")
                )
                continue
            per = term.get("per")
            if per not in (None, *get_args(Per)):
                allowed = ", ".join(map(repr, get_args(Per)))
                self._problems.append(self._source.error((*place, "per"), f"{per!r} must be one of {allowed}"))
                continue
            component = self.find("loss", place, ignore=["weight", "per"])
            if component and component.factory is None:
                yield LossTerm(float(weight), component, per)  # it was not executed
            elif component and kind is not None and not suits(component.factory, kind):
                kinds = " and ".join(kinds_of(component.factory))
                self._problems.append(
                    self._source.error((*place, "type"), f"{component.name!r} is for {kinds}")
                )
            elif component:
                yield LossTerm(float(weight), component, per)

    def _anchored(self, key: toml.Key, path: Path) -> Path:
        """Return the absolute path of a path at a key, relative to the folder of its file.

        Raises:
            InputError: The path is not valid.
        """
        try:
            anchored = (self._source.origin(key).folder / _expanded(path)).resolve()
            str(anchored).encode()
        except UnicodeError as error:
            problem = f"{str(anchored)!r} is not valid UTF-8, so it cannot be recorded. Rename the folder"
            raise _BadPathError(self._source.error(key, problem)) from error
        except (OSError, RuntimeError, ValueError) as error:
            problem = f"{str(path)!r} cannot be a path: {error}"
            raise _BadPathError(self._source.error(key, problem)) from error
        return anchored


def _parameters(table: Mapping[str, Any], ignore: Sequence[str]) -> dict[str, Any]:
    return {name: value for name, value in table.items() if name != "type" and name not in ignore}


class _BadPathError(InputError):
    """An invalid path, with its file, line and key."""


def _expanded(path: Path) -> Path:
    try:
        return expanded(path)
    except RuntimeError:  # a folder whose name begins with ~ and is not a user's
        return path


def _filled_in(kind: str, details: ErrorDetails) -> str:
    """Return a hint if the name of a missing parameter resembles one that the core provides."""
    near = nearest(str(details["loc"][-1]), PROVIDED[kind]) if details["type"] == "missing" else ""
    return near and f"{near} musicemo fills in this parameter"
