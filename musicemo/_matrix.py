"""The table ``[matrix]``: one file for every combination of some axes, each an experiment of its own."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from musicemo import _toml
from musicemo.errors import InputError, nearest

__all__ = ["expand", "select"]

_TABLE = "matrix"
#: Keys of the table that are no axes.
_EXCLUDE, _OVERRIDE = "exclude", "override"
#: Keys that every variant shares, or that the matrix itself decides.
_FIXED = {
    "name": "the variants' names follow from the axes",
    "seed": "replicates are no variants: give seeds = [...] outside of the matrix",
    "seeds": "replicates are no variants: give seeds = [...] outside of the matrix",
    "extends": "a file extends another as a whole",
    _TABLE: "a matrix holds no other",
}
_AXIS = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_UNFIT = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True)
class _Choice:
    """One value of an axis."""

    axis: str
    value: str | int | float | bool
    #: What it adds to the experiment's name.
    label: str
    #: What it lays over the experiment, and where that is written: a single value, or a table of keys.
    table: Mapping[str, Any]
    key: _toml.Key
    whole: bool

    def lay_over(self, variant: _toml.Source, written: _toml.Source) -> None:
        variant.lay(self.table, lambda key: written.origin(self.key if self.whole else (*self.key, *key)))

    def __str__(self) -> str:
        return _text(self.value)


@dataclass(frozen=True)
class _Rule:
    """What applies to some combinations: those with one of the values given, for every axis named."""

    where: Mapping[str, Sequence[Any]]
    table: Mapping[str, Any]
    key: _toml.Key

    def lay_over(self, variant: _toml.Source, written: _toml.Source) -> None:
        variant.lay(self.table, lambda key: written.origin((*self.key, *key)))

    def applies(self, variant: Mapping[str, Any]) -> bool:
        return all(any(_same(variant[axis], one) for one in values) for axis, values in self.where.items())


def expand(source: _toml.Source, overrides: Sequence[str], stem: str) -> list[_toml.Source]:
    """Return a source for each variant of a file with a ``[matrix]``, and the source itself for any other.

    Axes vary in the order in which they are written, the last one fastest. Over the file's own keys lie those of
    the axes' values, then those of ``override`` where it applies, then the command line's overrides.

    Args:
        source: the merged tables of the file.
        overrides: ``KEY=VALUE``, from the command line.
        stem: the experiment's name where none is given.

    Raises:
        InputError: with everything that is wrong with the matrix.
    """
    given = source.copy()
    for override in overrides:
        given.override(override)
    if _TABLE not in given.table:
        return [given]
    axes, excluded, adjusted = _Reader(given).read()
    variants = []
    for choices in itertools.product(*axes):
        variant = source.copy()
        variant.variant = {choice.axis: choice.value for choice in choices}
        if any(rule.applies(variant.variant) for rule in excluded):
            continue
        for choice in choices:
            choice.lay_over(variant, given)
        for rule in adjusted:
            if rule.applies(variant.variant):
                rule.lay_over(variant, given)
        for override in overrides:
            variant.override(override)
        variant.drop(_TABLE)
        name = variant.table.setdefault("name", stem)
        if isinstance(name, str):
            variant.table["name"] = "-".join([name, *(choice.label for choice in choices)])
        variants.append(variant)
    if not variants:
        raise InputError(given.error((_TABLE, _EXCLUDE), "leaves no variant"))
    names = [str(variant.table["name"]) for variant in variants]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(given.error((_TABLE,), f"more than one variant would be called {', '.join(twice)}"))
    return variants


def select(variants: Sequence[_toml.Source], only: Sequence[str]) -> list[_toml.Source]:
    """Return the variants with the values that ``AXIS=VALUE`` asks for; values of one axis are alternatives.

    Raises:
        InputError: another form, an axis or a value that is not there, no variant with all of them.
    """
    wanted: dict[str, set[str]] = {}
    axes: dict[str, dict[str, None]] = {}
    for variant in variants:
        for axis, value in variant.variant.items():
            axes.setdefault(axis, {})[_text(value)] = None
    for text in only:
        axis, equals, value = (part.strip() for part in text.partition("="))
        where = f"--only {text}: "
        if not equals:
            raise InputError(f"{where}must have the form AXIS=VALUE")
        if not axes:
            raise InputError(f"{where}{variants[0].file} has no matrix to choose from")
        if axis not in axes:
            raise InputError(f"{where}there is no axis {axis!r}{nearest(axis, axes)} (axes: {', '.join(axes)})")
        values = axes[axis]
        if value not in values:
            listed = ", ".join(values)
            raise InputError(
                f"{where}{axis!r} has no value {value!r}{nearest(value, values)} (values: {listed})"
            )
        wanted.setdefault(axis, set()).add(value)
    chosen = [
        variant
        for variant in variants
        if all(_text(variant.variant[axis]) in values for axis, values in wanted.items())
    ]
    if not chosen:
        raise InputError(
            f"--only {' --only '.join(only)}: {variants[0].file} has no such variant: it is excluded"
        )
    return chosen


class _Reader:
    """Reads the table, gathering what is wrong with it."""

    def __init__(self, source: _toml.Source) -> None:
        self._source = source
        self._problems: list[str] = []
        #: Axis -> its values, by the text that stands for each.
        self._axes: dict[str, dict[str, _Choice]] = {}

    def read(self) -> tuple[list[list[_Choice]], list[_Rule], list[_Rule]]:
        table = self._source.table[_TABLE]
        if not isinstance(table, dict):
            raise InputError(self._source.error((_TABLE,), f"must be a table of axes, not {table!r}"))
        for name, value in table.items():
            if name not in (_EXCLUDE, _OVERRIDE):
                self._axis(name, value)
        if not self._axes and not self._problems:
            self._wrong("has no axis", _TABLE)
        excluded = [self._rule(where, {}, (_TABLE, _EXCLUDE, index)) for index, where in self._list(_EXCLUDE)]
        adjusted = [self._adjustment(entry, index) for index, entry in self._list(_OVERRIDE)]
        if self._problems:
            raise InputError(*self._problems)
        return [list(values.values()) for values in self._axes.values()], excluded, adjusted

    def _axis(self, name: str, value: Any) -> None:
        key: _toml.Key = (_TABLE, name)
        if isinstance(value, list):
            try:
                *_, axis = _keys(_toml.nested(name, 0))
            except InputError as error:
                self._wrong(str(error), *key)
                return
            self._fixed(name.partition(".")[0], key)
            found = [self._listed(axis, name, one, (*key, index)) for index, one in enumerate(value)]
        elif isinstance(value, dict):
            axis = name
            found = [self._named(axis, variant, table, (*key, variant)) for variant, table in value.items()]
        else:
            self._wrong(f"must be a list of values or a table of variants, not {value!r}", *key)
            return
        if not value:
            self._wrong("has no value", *key)
        if not _AXIS.fullmatch(axis):
            self._wrong("an axis is called by letters, digits, - and _", *key)
        if axis in self._axes:
            self._wrong(f"there is another axis {axis!r}; write one of them as a table of named variants", *key)
            return
        self._axes[axis] = {}
        for choice in filter(None, found):
            if str(choice) in self._axes[axis]:
                self._wrong("is given twice", *choice.key)
            self._axes[axis][str(choice)] = choice

    def _listed(self, axis: str, name: str, value: Any, key: _toml.Key) -> _Choice | None:
        if not isinstance(value, str | int | float):
            self._wrong("must be text, a number, true or false; [matrix.NAME] gives names to others", *key)
            return None
        text = _text(value)
        label = _UNFIT.sub("-", text if isinstance(value, str) else f"{axis}{text}").strip("-")
        if not label:
            self._wrong(f"{value!r} gives no name; [matrix.NAME] gives names to values", *key)
        return _Choice(axis, value, label, _toml.nested(name, value), key, whole=True)

    def _named(self, axis: str, variant: str, table: Any, key: _toml.Key) -> _Choice | None:
        if not isinstance(table, dict):
            quoted = f'"{axis}.{variant}" = [...]' if isinstance(table, list) else "{ model.type = ... }"
            hint = (
                f"; the values of a key are given as {quoted}, with quotes" if isinstance(table, list) else ""
            )
            self._wrong(f"must be a table of the keys that it sets{hint}, not {table!r}", *key)
            return None
        if not _AXIS.fullmatch(variant):
            self._wrong("a variant is called by letters, digits, - and _", *key)
        for name in table:
            self._fixed(name, (*key, name))
        return _Choice(axis, variant, variant, table, key, whole=False)

    def _adjustment(self, entry: Any, index: int) -> _Rule:
        key: _toml.Key = (_TABLE, _OVERRIDE, index)
        if not isinstance(entry, dict) or set(entry) != {"where", "set"} or not isinstance(entry["set"], dict):
            self._wrong("must be a table of where = { AXIS = VALUE } and set = { keys }", *key)
            return _Rule({}, {}, key)
        for name in entry["set"]:
            self._fixed(name, (*key, "set", name))
        rule = self._rule(entry["where"], entry["set"], (*key, "where"))
        return _Rule(rule.where, rule.table, (*key, "set"))

    def _rule(self, where: Any, table: Mapping[str, Any], key: _toml.Key) -> _Rule:
        if not isinstance(where, dict) or not where:
            self._wrong("must be a table of AXIS = VALUE, or of AXIS = [VALUE, VALUE]", *key)
            return _Rule({}, table, key)
        found = {}
        for axis, value in where.items():
            if axis not in self._axes:
                known = ", ".join(self._axes)
                self._wrong(f"there is no such axis{nearest(axis, self._axes)} (axes: {known})", *key, axis)
                continue
            found[axis] = value if isinstance(value, list) else [value]
            values = self._axes[axis]
            for one in found[axis]:
                if not any(_same(choice.value, one) for choice in values.values()):
                    text = _text(one)
                    listed = ", ".join(values)
                    self._wrong(
                        f"{one!r} is no value of it{nearest(text, values)} (values: {listed})", *key, axis
                    )
        return _Rule(found, table, key)

    def _list(self, name: str) -> Iterator[tuple[int, Any]]:
        value = self._source.table[_TABLE].get(name, [])
        if isinstance(value, list):
            yield from enumerate(value)
        else:
            self._wrong(f"must be a list of tables, not {value!r}", _TABLE, name)

    def _fixed(self, name: str, key: _toml.Key) -> None:
        if name in _FIXED:
            self._wrong(f"cannot be varied: {_FIXED[name]}", *key)

    def _wrong(self, message: str, *key: str | int) -> None:
        self._problems.append(self._source.error(key, message))


def _keys(table: Mapping[str, Any]) -> Iterator[str]:
    """Yield the parts of the only key in nested tables."""
    for name, value in table.items():
        yield name
        if isinstance(value, dict):
            yield from _keys(value)


def _same(one: Any, other: Any) -> bool:
    """Tell true from 1, which Python takes for the same."""
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def _text(value: Any) -> str:
    """Return a value as it is written in an experiment file, text without its quotes."""
    return str(value).lower() if isinstance(value, bool) else str(value)
