"""The base of every table of an experiment file that the core itself defines."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler

from musicemo._docstrings import attribute_docs

__all__ = ["Settings", "validate"]

_Model = TypeVar("_Model", bound=BaseModel)


class Settings(BaseModel):
    """A table whose unknown keys are errors and whose values have the type that they are written with."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    @classmethod
    def __get_pydantic_json_schema__(cls, core: Any, handler: GetJsonSchemaHandler) -> Any:
        """Describe each key in the JSON Schema with what the code says of it."""
        found = handler(core)
        keys = handler.resolve_ref_schema(found).get("properties", {})
        for name, text in attribute_docs(cls, Settings).items():
            if name in keys:
                keys[name]["description"] = text
        return found


def validate(model: type[_Model], table: Mapping[str, Any]) -> _Model:
    """Return a TOML table as a pydantic model: text may be a path, and an array a tuple.

    Raises:
        pydantic.ValidationError: The table is not valid; it holds every error.
    """
    return model.model_validate_json(json.dumps(table, default=str))
