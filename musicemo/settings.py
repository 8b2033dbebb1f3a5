"""Base class of the tables of an experiment file, and their validation."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict
from pydantic_core import ErrorDetails

__all__ = ["Settings", "plain_message", "validate", "without_prefix"]

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


def without_prefix(message: str) -> str:
    """Return the message of a pydantic error without the type of the exception that a validator raised."""
    return message.removeprefix("Value error, ").removeprefix("Assertion failed, ")


def plain_message(details: ErrorDetails) -> str:
    """Return the message of a pydantic error as the rest of a sentence: without prefix, and in lower case."""
    message = without_prefix(details["msg"])
    return message[:1].lower() + message[1:]
