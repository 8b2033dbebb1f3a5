"""A component's constructor signature as the schema of its TOML table, and the component that a table describes."""

from __future__ import annotations

import copy
import dataclasses
import functools
import inspect
import json
import sys
import typing
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PydanticSchemaGenerationError, ValidationError, create_model
from pydantic.errors import PydanticInvalidForJsonSchema
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import InitErrorDetails, PydanticSerializationError, to_jsonable_python
from torch import nn

from musicemo import toml
from musicemo.components import registry
from musicemo.components.documentation import parameter_docs, summary
from musicemo.components.local import LocalCode, told_by_line
from musicemo.contracts import (
    PROVIDED,
    TARGET_KINDS,
    ArrayReader,
    Augmentation,
    ComponentTable,
    Dataset,
    FeatureExtractor,
    Launcher,
    Per,
    Sharing,
    TargetKind,
    Weighting,
    kinds_of,
)
from musicemo.errors import InputError, MusicemoError, RunError, describe_error
from musicemo.features import FeatureSettings
from musicemo.settings import Settings, plain_message, validate

__all__ = [
    "RESERVED",
    "AugmentSettings",
    "Component",
    "PluginSettings",
    "check_component",
    "check_declared",
    "check_defaults",
    "component_table",
    "default_component",
    "existing_keys",
    "load_factory",
    "location_of",
    "make_component",
    "signature_schema",
    "split_settings",
    "suits",
    "table_schema",
    "to_toml",
]


class PluginSettings(Settings):
    """Keys of ``[plugins.NAME]`` that are not constructor parameters."""

    enabled: bool = True
    """Whether the plugin is active."""


class AugmentSettings(Settings):
    """Keys of a table of ``augment`` that are not constructor parameters."""

    probability: float = Field(default=1.0, gt=0, le=1)
    """Probability that an example is changed."""
    tasks: Annotated[list[str], Field(min_length=1)] | None = None
    """Tasks whose labels survive. A changed example has no label of the other tasks. The default is all tasks."""


#: Kind of component -> keys of its table that are not constructor parameters.
RESERVED = {
    "loss": ("type", "weight", "per"),
    "features": ("type", *FeatureSettings.model_fields),
    "augmentation": ("type", *AugmentSettings.model_fields),
    "plugin": ("type", *PluginSettings.model_fields),
}
#: Pydantic errors of paths that do not exist relative to the working directory.
_PATH_ERRORS = ("path_not_file", "path_not_directory", "path_exists", "parent_does_not_exist")

#: Return the absolute path for a key of the table and the path written there.
Anchor = Callable[[toml.Key, Path], Path]

#: Kind of component -> required base class, and the sentence of the error message.
_BASES: dict[str, tuple[type | tuple[type, ...], str]] = {
    "dataset": (Dataset, "a dataset must have targets and tracks()"),
    "features": (
        (FeatureExtractor, ArrayReader),
        "a feature extractor must have sample_rate, outputs, fingerprint and extract()",
    ),
    "augmentation": (Augmentation, "an augmentation must be callable"),
    "model": (nn.Module, "a model must be an nn.Module"),
    "sharing": (Sharing, "a sharing architecture must be a musicemo.contracts.Sharing"),
    "loss": (nn.Module, "a loss must be an nn.Module"),
    "weighting": (Weighting, "a weighting must be a musicemo.contracts.Weighting"),
    "launcher": (Launcher, "a launcher must have workers() and run()"),
    "plugin": (object, ""),
}

_TYPES = (
    "Allowed types: int, float, bool, str, Path, list[...], dict[str, ...], Literal[...], and ... | None for an "
    "optional key"
)


def signature_schema(component: Any, provided: Mapping[str, str] | None = None) -> type[BaseModel]:
    """Return the pydantic model of a component's TOML table, derived from its constructor's signature.

    Args:
        component: The class, or a function that returns an instance.
        provided: Names of parameters that the core fills in. They are not keys of the table.

    Raises:
        InputError: A parameter has no annotation, its annotation cannot be resolved or written in TOML, or it
            cannot be passed by name.
    """
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Field name .* shadows an attribute", UserWarning)
            return _schema(component, provided or {})
    except InputError:
        raise
    except Exception as error:  # evaluating a third party's annotation may raise anything
        raise InputError(
            f"the parameters of {location_of(component)} cannot be read: {type(error).__name__}: {error}"
        ) from error


def location_of(component: Any) -> str:
    """Return ``module.name`` of a component, or ``FILE.py:name`` if it was executed from a local file."""
    name = getattr(component, "__name__", type(component).__name__)
    module = getattr(component, "__module__", "?")
    loaded = sys.modules.get(module)
    if loaded is None or loaded.__spec__ is not None or module == "__main__":
        return f"{module}.{name}"
    return f"{loaded.__file__}:{name}"


def _schema(component: Any, provided: Mapping[str, str]) -> type[BaseModel]:
    callable_ = component.__init__ if inspect.isclass(component) else component
    hints = typing.get_type_hints(callable_, include_extras=True)
    fields: dict[str, Any] = {}
    for parameter in inspect.signature(component).parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD) or parameter.name in provided:
            continue
        if parameter.kind is parameter.POSITIONAL_ONLY:
            raise InputError(
                f"the parameter {parameter.name!r} of {location_of(component)} is positional-only; keys of a "
                "TOML table are passed by name"
            )
        if parameter.name not in hints:
            raise InputError(
                f"the parameter {parameter.name!r} of {location_of(component)} needs a type annotation, for example "
                f"{parameter.name}: int. The experiment file is checked against it. {_TYPES}"
            )
        default = ... if parameter.default is parameter.empty else _default(component, parameter)
        fields[parameter.name] = (hints[parameter.name], default)
    config = ConfigDict(extra="forbid", strict=True, protected_namespaces=())
    name = getattr(component, "__name__", type(component).__name__)
    for key, field in fields.items():
        _check_writable(key, field[0], component)
    for key, text in parameter_docs(component).items():
        if key in fields:
            hint, default = fields[key]
            fields[key] = (Annotated[hint, Field(description=text)], default)
    return create_model(name, __config__=config, __doc__=summary(component), **fields)


def _default(component: Any, parameter: inspect.Parameter) -> Any:
    """Return a parameter's default; call the default factory of a dataclass field."""
    for field in dataclasses.fields(component) if dataclasses.is_dataclass(component) else ():
        if field.name == parameter.name and field.default_factory is not dataclasses.MISSING:
            return field.default_factory()
    return parameter.default


def _check_writable(name: str, hint: Any, component: Any) -> None:
    """Check that TOML can hold values of a type.

    Raises:
        InputError: TOML cannot hold them.
    """
    try:
        config = ConfigDict(strict=True, protected_namespaces=())
        create_model("Parameter", __config__=config, value=(hint, ...)).model_json_schema(
            schema_generator=_Writable
        )
    except (PydanticInvalidForJsonSchema, PydanticSchemaGenerationError) as error:
        shown = getattr(hint, "__name__", "") if inspect.isclass(hint) else ""
        raise InputError(
            f"the parameter {name!r} of {location_of(component)} is a {shown or hint}, which TOML cannot hold; use "
            f"a name or a number instead. {_TYPES}"
        ) from error
    except Exception as error:
        raise InputError(
            f"the parameter {name!r} of {location_of(component)} cannot be read: {type(error).__name__}: {error}"
        ) from error


class _Writable(GenerateJsonSchema):
    """A generator that rejects types whose values neither JSON nor TOML can hold."""

    def is_subclass_schema(self, schema: Any) -> Any:
        return self.handle_invalid_for_json_schema(schema, "a class")

    def generator_schema(self, schema: Any) -> Any:
        return self.handle_invalid_for_json_schema(schema, "an iterator")

    def emit_warning(self, kind: Any, detail: str) -> None:
        pass


@functools.cache
def table_schema(factory: Any, kind: str) -> type[BaseModel]:
    """Return the pydantic model of a component's table, without the parameters that the core provides.

    Raises:
        InputError: The signature cannot be read, or a parameter or default cannot be held by a table.
    """
    place = location_of(factory)
    for name in inspect.signature(factory).parameters:
        if name in RESERVED.get(kind, ("type",)) and name not in PROVIDED[kind]:
            raise InputError(
                f"the parameter {name!r} of {place} cannot be set: musicemo itself uses the key {name} of its table; "
                "rename the parameter"
            )
    schema = signature_schema(factory, PROVIDED[kind])
    check_defaults(schema, place)
    return schema


def component_table(kind: str, name: str, factory: Any, base: type[BaseModel] | None = None) -> type[BaseModel]:
    """Return the pydantic model of a component's whole table: ``type``, its parameters and a loss's ``weight``.

    Args:
        kind: Kind of component.
        name: Value of ``type``.
        factory: The class, or a function that returns an instance.
        base: Model of further keys of the table, which take precedence over parameters.

    Raises:
        InputError: The signature cannot be read.
    """
    parameters = table_schema(factory, kind)
    more = base.model_fields if base else {}
    fields: dict[str, Any] = {"type": (Literal[name], ...)}
    fields |= {
        key: (field.annotation, field) for key, field in parameters.model_fields.items() if key not in more
    }
    if kind == "loss":
        weight = Field(default=1.0, gt=0, description="Weight of the term in the loss of the task.")
        fields["weight"] = (float, weight)
        per = Field(default=None, description="Series: ratings that the loss compares with each other.")
        fields["per"] = (Per | None, per)
    label = "joined" if base and kind == "dataset" else kind
    options: dict[str, Any] = {"__base__": base} if base else {"__config__": parameters.model_config}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Field name .* shadows an attribute", UserWarning)
        return create_model(f"{label}:{name}", **options, __doc__=parameters.__doc__, **fields)


def check_defaults(schema: type[BaseModel], place: str) -> None:
    """Check that every default is valid for its own annotation: runs record it and read it back.

    Raises:
        InputError: A default is not valid.
    """
    table: dict[str, Any] = {}
    for name, field in schema.model_fields.items():
        if field.is_required():
            continue
        default = field.get_default(call_default_factory=True, validated_data={})
        try:
            value = to_toml({name: default})
        except PydanticSerializationError as error:
            raise InputError(_bad_default(name, place, f"TOML cannot hold {default!r}")) from error
        table |= value
    try:
        validate(schema, table)
    except ValidationError as error:
        for details in error.errors():
            if details["loc"][0] in table:
                name = toml.dotted(details["loc"])
                raise InputError(
                    _bad_default(name, place, f"{plain_message(details)}, not {details['input']!r}")
                ) from error


def _bad_default(name: str, place: str, reason: str) -> str:
    return (
        f"the default of {name!r} of {place} does not match its annotation: {reason}. Defaults are recorded with each "
        "run and read back"
    )


def read_table(
    schema: type[BaseModel], table: Mapping[str, Any], place: str, anchor: Anchor = lambda _, path: path
) -> dict[str, Any]:
    """Return the parameters of a component's table, with absolute paths in nested tables too.

    Args:
        schema: Pydantic model of the table.
        table: The table of the experiment file.
        place: Module or file of the component, for error messages.
        anchor: Function that makes paths absolute.

    Raises:
        pydantic.ValidationError: The table is not valid, or has an unknown key.
        InputError: The parameters cannot be written as TOML and read back.
    """
    written = copy.deepcopy(dict(table))
    try:
        validated = validate(schema, written)
    except ValidationError as error:  # a path that must exist is relative to its file
        paths = [one["loc"] for one in error.errors() if one["type"] in _PATH_ERRORS]
        if not paths:
            raise
        for loc in paths:
            _replace(written, existing_keys(written, loc), anchor)
        validated = validate(schema, written)
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
        validated = validate(schema, written)
    parameters = {
        name: _anchored(getattr(validated, name), (name,), anchor) for name in type(validated).model_fields
    }
    _check_reads_back(schema, parameters, place)
    return parameters


def _check_reads_back(schema: type[BaseModel], parameters: Mapping[str, Any], place: str) -> None:
    try:
        table = to_toml(parameters)
        again = validate(schema, table)
    except (PydanticSerializationError, ValidationError) as error:
        details = error.errors()[0] if isinstance(error, ValidationError) else None
        reason = f"{toml.dotted(details['loc'])}: {plain_message(details)}" if details else str(error)
        raise InputError(
            f"the parameters of {place} cannot be recorded with a run and read back: {reason}"
        ) from error
    after = to_toml({name: getattr(again, name) for name in type(again).model_fields})
    for name in table | after:
        if repr(table.get(name)) != repr(after.get(name)):
            raise InputError(
                f"{name!r} of {place} is {table.get(name)!r} and reads back as {after.get(name)!r}; a run must be "
                "repeatable from its recorded table"
            )


def _unmatched(written: Any, value: Any, key: toml.Key = ()) -> Iterator[tuple[toml.Key, Any]]:
    """Yield the keys of a table that were ignored, with their values, and those read as paths, with the path."""
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
    """Return the values read from a table by their keys, or None if the object does not expose them."""
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


def existing_keys(table: Any, loc: Sequence[str | int]) -> toml.Key:
    """Return the parts of a pydantic location that are keys of a table; the others name union branches."""
    keys: list[str | int] = []
    for part in loc:
        inside = isinstance(table, dict) and part in table
        if inside or (isinstance(table, list) and isinstance(part, int) and part < len(table)):
            keys.append(part)
            table = table[part]
    return tuple(keys)


def _replace(table: Any, key: toml.Key, anchor: Anchor) -> None:
    """Make a path in a table absolute."""
    for part in key[:-1]:
        table = table[part]
    table[key[-1]] = str(anchor(key, Path(table[key[-1]])))


def _anchored(value: Any, key: toml.Key, anchor: Anchor) -> Any:
    """Return a parameter value with every path made absolute."""
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


def to_toml(value: Any) -> Any:
    """Return a value as TOML holds it: paths as text, tuples as arrays, sets sorted, None left out.

    Raises:
        PydanticSerializationError: TOML cannot hold the value.
    """
    if isinstance(value, Component):
        return value.to_table()
    if isinstance(value, BaseModel):
        value = value.model_dump(by_alias=True, warnings=False)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        leading = {"type": value["type"]} if "type" in value else {}
        return {
            name
            if isinstance(name, str) and type(name) is str
            else next(iter(to_jsonable_python({name: 0}))): to_toml(inner)
            for name, inner in {**leading, **value}.items()
            if inner is not None
        }
    if isinstance(value, set | frozenset):
        return sorted((to_toml(inner) for inner in value), key=json.dumps)
    if isinstance(value, list | tuple):
        inner = [to_toml(one) for one in value]
        if None in inner:
            raise PydanticSerializationError("an array of TOML cannot hold None")
        return inner
    if isinstance(value, Enum):
        return to_toml(value.value)
    if isinstance(value, Path):
        return str(value)
    if value is None or type(value) in (str, int, float, bool):
        return value
    return to_jsonable_python(value)


#: Returns the component of a table at a key among the parameters; None if it has a problem that has been recorded.
Nested = Callable[[ComponentTable, toml.Key], "Component | None"]


@dataclass(frozen=True)
class Component:
    """A registered or local class, and the parameters that an experiment sets."""

    kind: str
    name: str
    #: The class, or a function that returns an instance; None if its file was read but not executed.
    factory: Any
    parameters: Mapping[str, Any]
    #: File of a local component; None for a registered one.
    code: LocalCode | None = None
    #: Whether the parameters of a component that was not executed were compared with its source.
    checked: bool = False
    #: Further keys of its table, if it is inside another component's, or of a plugin.
    settings: BaseModel | None = None

    def build(self, **provided: Any) -> Any:
        """Return an instance, constructed with its parameters and those of `provided` that its signature names.

        Raises:
            InputError: The constructor rejects the parameters, or returns another kind of object.
            RunError: The constructor fails with any other exception.
        """
        accepted = _signature(self.factory)
        arguments = {name: value for name, value in provided.items() if name in accepted}
        try:
            with told_by_line():
                instance = self.factory(**self.parameters, **arguments)
        except InputError as error:
            raise InputError(
                *(f"{self.kind} {self.name!r}: {problem}" for problem in error.problems)
            ) from error
        except MusicemoError:
            raise
        except (TypeError, ValueError, ImportError) as error:
            raise InputError(f"{self.kind} {self.name!r}: {error}") from error
        except (Exception, SystemExit) as error:
            package = str(getattr(self.factory, "__module__", "")).partition(".")[0]
            raise RunError(
                f"{self.kind} {self.name!r} of {self._origin} cannot be constructed: {describe_error(error, package)}"
            ) from error
        base, requirement = _BASES[self.kind]
        if not isinstance(instance, base):
            raise InputError(f"{self.kind} {self.name!r}: is a {type(instance).__name__}, but {requirement}")
        if isinstance(instance, nn.Module) and "_modules" not in vars(instance):
            raise InputError(f"{self.kind} {self.name!r}: its constructor does not call super().__init__ first")
        return instance

    @property
    def _origin(self) -> str:
        """The distribution, or the module of a local component."""
        claims = [claim for claim in registry.claims(self.kind) if claim.name == self.name and not self.code]
        return str(claims[0]) if claims else str(getattr(self.factory, "__module__", "?"))

    def to_table(self) -> dict[str, Any]:
        """Return the TOML table, including defaults."""
        settings = {} if self.settings is None else to_toml(self.settings)
        return {"type": str(self.code or self.name), **settings, **to_toml(self.parameters)}


def load_factory(kind: str, name: str) -> Any:
    """Return the class of a registered component, or a function that returns it; see `registry.load`.

    A plugin can be an object or a module, which has no settings.

    Raises:
        InputError: Not exactly one distribution provides the name, or the component cannot be imported.
    """
    component = registry.load(kind, name)
    if kind != "plugin" or inspect.isclass(component):
        return component

    def itself() -> Any:
        return component

    return itself


def default_component(kind: str, name: str) -> Component:
    """Return a registered component with its default parameters."""
    return make_component(kind, name, registry.load(kind, name), {})


def make_component(
    kind: str,
    name: str,
    factory: Any,
    table: Mapping[str, Any],
    anchor: Callable[[toml.Key, Path], Path] = lambda _, path: path,
    code: LocalCode | None = None,
    nested: Nested | None = None,
) -> Component:
    """Return a component with the parameters of a TOML table without ``type``.

    Args:
        kind: Kind of component.
        name: Value of ``type``.
        factory: The class, or a function that returns an instance.
        table: Parameters.
        anchor: Function that makes the path at a key of the table absolute.
        code: File of a local component.
        nested: Function that returns the component of a table among the parameters; by default, a registered one.

    Raises:
        InputError: The signature cannot be read, the parameters cannot be recorded, or a component among them has a
            problem.
        pydantic.ValidationError: The parameters do not match the signature.
    """
    schema = table_schema(factory, kind)
    parameters = read_table(schema, table, location_of(factory), anchor)
    problems: list[str] = []

    def resolved(marker: ComponentTable, key: toml.Key, inner: Mapping[str, Any]) -> Component | None:
        try:
            return nested(marker, key) if nested else _registered(marker, inner)
        except ValidationError as error:
            problems.extend(
                f"{toml.dotted((*key, *one['loc']))}: {plain_message(one)}" for one in error.errors()
            )
        except InputError as error:
            problems.extend(f"{toml.dotted(key)}: {problem}" for problem in error.problems)
        return None

    for parameter, marker in _nested_tables(schema).items():
        value = parameters[parameter]
        if isinstance(value, list):
            components: Any = [resolved(marker, (parameter, index), one) for index, one in enumerate(value)]
            incomplete = None in components
        else:
            components = None if value is None else resolved(marker, (parameter,), value)
            incomplete = components is None and value is not None
        if incomplete:
            raise InputError(*problems)
        parameters[parameter] = components
    return Component(kind, name, factory, parameters, code)


def _nested_tables(schema: type[BaseModel]) -> dict[str, ComponentTable]:
    """Return the parameters that are tables of components, or lists of them."""
    found: dict[str, ComponentTable] = {}
    for name, field in schema.model_fields.items():
        inner = typing.get_args(field.annotation)
        marks = [*field.metadata, *(mark for one in inner for mark in getattr(one, "__metadata__", ()))]
        found.update((name, mark) for mark in marks if isinstance(mark, ComponentTable))
    return found


def split_settings(marker: ComponentTable, table: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the further keys of a nested component's table, and its parameters with ``type``."""
    further = marker.settings.model_fields if marker.settings else {}
    return (
        {key: value for key, value in table.items() if key in further},
        {key: value for key, value in table.items() if key not in further},
    )


def _registered(marker: ComponentTable, table: Mapping[str, Any]) -> Component:
    """Return the registered component of a table inside another component's.

    Raises:
        InputError: No component has this name, or its table cannot be recorded.
        pydantic.ValidationError: The table is not valid.
    """
    further, parameters = split_settings(marker, table)
    name = str(parameters.pop("type", None))
    component = make_component(marker.kind, name, registry.load(marker.kind, name), parameters)
    settings = validate(marker.settings, further) if marker.settings else None
    return dataclasses.replace(component, settings=settings)


def permission_of(factory: Any, parameters: Mapping[str, Any]) -> str | None:
    """Return the parameter with which a table lets a component execute code of files that it reads, if it does."""
    name = getattr(factory, "executes", None)
    return name if isinstance(name, str) and parameters.get(name) else None


def check_component(kind: str, name: str, factory: Any) -> type[BaseModel]:
    """Check a component without constructing it, and return the pydantic model of its table.

    Raises:
        InputError: The signature cannot be read, or a loss does not declare its kind of target.
    """
    schema = table_schema(factory, kind)
    check_declared(kind, name, factory)
    return schema


def suits(loss: Any, target: TargetKind) -> bool:
    """Return whether a loss trains a kind of target: those that it declares, and one of ratings also series."""
    kinds = kinds_of(loss)
    return target in kinds or (target == "series" and "regression" in kinds)


def check_declared(kind: str, name: str, factory: Any) -> None:
    """Check the class attributes of a component: a loss declares the kind of target that it is for.

    Raises:
        InputError: The attribute is absent or has another value.
    """
    if kind == "loss" and not (
        0 < len(declared := kinds_of(factory)) == len(set(declared) & set(TARGET_KINDS))
    ):
        problem = f"declares the kind {factory.kind!r}" if declared else "declares no kind"
        raise InputError(
            f"loss {name!r} {problem}: its class must declare the kind of target with the attribute "
            + " or ".join(f'kind = "{allowed}"' for allowed in TARGET_KINDS)
        )


@functools.cache
def _signature(factory: Any) -> frozenset[str]:
    return frozenset(inspect.signature(factory).parameters)
