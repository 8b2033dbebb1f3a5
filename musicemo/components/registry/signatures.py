"""A constructor's signature as the schema of its component's TOML table."""

from __future__ import annotations

import dataclasses
import inspect
import json
import sys
import typing
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from musicemo.errors import InputError

if TYPE_CHECKING:
    from pydantic import BaseModel

__all__ = ["place", "schema", "validate"]

_TYPES = (
    "Possible types are int, float, bool, str, Path, list[...], dict[str, ...], Literal[...], and ... | None for a key "
    "that may be absent"
)


def schema(component: Any, provided: Mapping[str, str] | None = None) -> type[BaseModel]:
    """Return the pydantic model of a component's TOML table: its constructor's signature.

    Args:
        component: the class, or a function that makes one.
        provided: names of parameters that the core fills in, which are no keys.

    Raises:
        InputError: a parameter without an annotation, with one that cannot be resolved or that TOML cannot write, or
            one that cannot be passed by name.
    """
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Field name .* shadows an attribute", UserWarning)
            return _schema(component, provided or {})
    except InputError:
        raise
    except Exception as error:  # whatever a stranger's annotation raises when it is evaluated
        raise InputError(
            f"the parameters of {place(component)} cannot be read: {type(error).__name__}: {error}"
        ) from error


def place(component: Any) -> str:
    """Return where a component is from: its module, or the file of one that was not imported."""
    name = getattr(component, "__name__", type(component).__name__)
    module = getattr(component, "__module__", "?")
    found = sys.modules.get(module)
    if found is None or found.__spec__ is not None or module == "__main__":
        return f"{module}.{name}"
    return f"{found.__file__}:{name}"


def _schema(component: Any, provided: Mapping[str, str]) -> type[BaseModel]:
    from pydantic import ConfigDict, create_model

    callable_ = component.__init__ if inspect.isclass(component) else component
    hints = typing.get_type_hints(callable_, include_extras=True)
    fields: dict[str, Any] = {}
    for parameter in inspect.signature(component).parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD) or parameter.name in provided:
            continue
        if parameter.kind is parameter.POSITIONAL_ONLY:
            raise InputError(
                f"the parameter {parameter.name!r} of {place(component)} is positional-only, and a key of a TOML table "
                "is passed by name"
            )
        if parameter.name not in hints:
            raise InputError(
                f"the parameter {parameter.name!r} of {place(component)} needs a type, which its key in an "
                f"experiment file is checked against: annotate it, as in {parameter.name}: int. {_TYPES}"
            )
        default = ... if parameter.default is parameter.empty else _default(component, parameter)
        fields[parameter.name] = (hints[parameter.name], default)
    config = ConfigDict(extra="forbid", strict=True, protected_namespaces=())
    name = getattr(component, "__name__", type(component).__name__)
    for key, field in fields.items():
        _check_writable(key, field[0], component)
    return create_model(name, __config__=config, **fields)


def _default(component: Any, parameter: inspect.Parameter) -> Any:
    """Return a parameter's default; of a dataclass, what its factory makes."""
    for field in dataclasses.fields(component) if dataclasses.is_dataclass(component) else ():
        if field.name == parameter.name and field.default_factory is not dataclasses.MISSING:
            return field.default_factory()
    return parameter.default


def _check_writable(name: str, hint: Any, component: Any) -> None:
    """Check that TOML can write values of a type.

    Raises:
        InputError: it cannot.
    """
    from pydantic import ConfigDict, PydanticSchemaGenerationError, create_model
    from pydantic.errors import PydanticInvalidForJsonSchema
    from pydantic.json_schema import GenerateJsonSchema

    class Writable(GenerateJsonSchema):
        """Reports what JSON, and so TOML, has no form for."""

        def is_subclass_schema(self, schema: Any) -> Any:
            return self.handle_invalid_for_json_schema(schema, "a class")

        def generator_schema(self, schema: Any) -> Any:
            return self.handle_invalid_for_json_schema(schema, "an iterator")

        def emit_warning(self, kind: Any, detail: str) -> None:
            pass

    try:
        config = ConfigDict(strict=True, protected_namespaces=())
        create_model("Parameter", __config__=config, value=(hint, ...)).model_json_schema(
            schema_generator=Writable
        )
    except (PydanticInvalidForJsonSchema, PydanticSchemaGenerationError) as error:
        shown = getattr(hint, "__name__", "") if inspect.isclass(hint) else ""
        raise InputError(
            f"the parameter {name!r} of {place(component)} is a {shown or hint}, which TOML cannot write; take a name "
            f"or a number instead. {_TYPES}"
        ) from error
    except Exception as error:
        raise InputError(
            f"the parameter {name!r} of {place(component)} cannot be read: {type(error).__name__}: {error}"
        ) from error


def validate(model: type[BaseModel], table: Mapping[str, Any]) -> BaseModel:
    """Validate a TOML table strictly, with TOML's own idea of types: text may be a path, an array a tuple.

    Raises:
        pydantic.ValidationError: with every error.
    """
    return model.model_validate_json(json.dumps(table, default=str))
