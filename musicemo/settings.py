"""Base class of the tables of an experiment file, and their validation."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict

__all__ = ["Settings", "validate"]

_Model = TypeVar("_Model", bound=BaseModel)


class Settings(BaseModel):
    """A table that rejects unknown keys and converts no types. The docstring below a field describes its key."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


def validate(model: type[_Model], table: Mapping[str, Any]) -> _Model:
    """Return a TOML table as a pydantic model: text may be a path, and an array a tuple.

    Raises:
        pydantic.ValidationError: The table is not valid; it holds every error.
    """
    return model.model_validate_json(json.dumps(table, default=str))
