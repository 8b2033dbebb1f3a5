"""A constructor's signature as the schema of its component's TOML table."""

from __future__ import annotations

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

__all__ = ["schema", "validate"]


def schema(component: Any, provided: Mapping[str, str] | None = None) -> type[BaseModel]:
    """Return the pydantic model of a component's TOML table: its constructor's signature.

    Args:
        component: the class, or a function that makes one.
        provided: names of parameters that the core fills in, which are no keys.

    Raises:
        InputError: a parameter without an annotation, or one that cannot be resolved, or that pydantic cannot check.
    """
    name = getattr(component, "__name__", type(component).__name__)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Field name .* shadows an attribute", UserWarning)
            return _schema(component, name, provided or {})
    except InputError:
        raise
    except Exception as error:  # whatever a stranger's annotation raises when it is evaluated
        raise InputError(
            f"the parameters of {_place(component, name)} cannot be read: {type(error).__name__}: {error}"
        ) from error


def _place(component: Any, name: str) -> str:
    """Return where a component is from: its module, or the file of one that was not imported."""
    module = getattr(component, "__module__", "?")
    found = sys.modules.get(module)
    if found is None or found.__spec__ is not None or module == "__main__":
        return f"{module}.{name}"
    return f"{found.__file__}:{name}"


def _schema(component: Any, name: str, provided: Mapping[str, str]) -> type[BaseModel]:
    from pydantic import ConfigDict, create_model

    callable_ = component.__init__ if inspect.isclass(component) else component
    hints = typing.get_type_hints(callable_, include_extras=True)
    fields: dict[str, Any] = {}
    for parameter in inspect.signature(component).parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD) or parameter.name in provided:
            continue
        if parameter.name not in hints:
            raise InputError(
                f"the parameter {parameter.name!r} of {_place(component, name)} needs a type, which its key in an "
                f"experiment file is checked against: annotate it, as in {parameter.name}: int. There are int, float, "
                "bool, str, Path, list[...], dict[str, ...], Literal[...], and ... | None for a key that may be absent"
            )
        default = ... if parameter.default is parameter.empty else parameter.default
        fields[parameter.name] = (hints[parameter.name], default)
    config = ConfigDict(extra="forbid", strict=True, protected_namespaces=())
    return create_model(name, __config__=config, **fields)


def validate(model: type[BaseModel], table: Mapping[str, Any]) -> BaseModel:
    """Validate a TOML table strictly, with TOML's own idea of types: text may be a path, an array a tuple.

    Raises:
        pydantic.ValidationError: with every error.
    """
    return model.model_validate_json(json.dumps(table, default=str))
