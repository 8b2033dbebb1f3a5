"""What the table ``[matrix]`` lays over an experiment: the values of its axes, and its rules."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from musicemo import toml

__all__ = ["Choice", "Rule", "as_written", "same_value"]

_Layer = tuple[Mapping[str, Any], Callable[[toml.Key], toml.Origin]]


@dataclass(frozen=True)
class Choice:
    """One value of an axis."""

    axis: str
    value: str | int | float | bool
    #: What it adds to the experiment's name.
    label: str
    #: What it lays over the experiment, and where that is written: a single value, or a table of keys.
    table: Mapping[str, Any]
    key: toml.Key
    whole: bool

    def layer(self, written: toml.Source) -> _Layer:
        """Return its keys and where each is written, in the file as it is `written`."""
        return self.table, lambda key: written.origin(self.key if self.whole else (*self.key, *key))

    def __str__(self) -> str:
        return as_written(self.value)


@dataclass(frozen=True)
class Rule:
    """What applies to some combinations: those with one of the values given, for every axis named."""

    where: Mapping[str, Sequence[Any]]
    table: Mapping[str, Any]
    key: toml.Key

    def layer(self, written: toml.Source) -> _Layer:
        """Return its keys and where each is written, in the file as it is `written`."""
        return self.table, lambda key: written.origin((*self.key, *key))

    def applies(self, variant: Mapping[str, Any]) -> bool:
        """Tell whether a variant, axis -> value, is among the combinations."""
        return all(any(same_value(variant[axis], one) for one in values) for axis, values in self.where.items())


def same_value(one: Any, other: Any) -> bool:
    """Tell whether two values are the same in TOML, where true is not 1 and nan is itself."""
    if one != one and other != other:
        return True
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def as_written(value: Any) -> str:
    """Return a value as it is written in an experiment file, text without its quotes."""
    return str(value).lower() if isinstance(value, bool) else str(value)
