"""The table ``[matrix]`` itself, and what is wrong with it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from musicemo import toml
from musicemo.errors import InputError, nearest
from musicemo.experiment.matrix.choices import Choice, Rule, as_written, same_value

__all__ = ["EXCLUDE", "TABLE", "read_matrix"]

TABLE = "matrix"
#: Keys of the table that are no axes.
EXCLUDE, OVERRIDE = "exclude", "override"
#: Keys that every variant shares, or that the matrix itself decides.
_FIXED = {
    "name": "the variants' names follow from the axes",
    "seed": "replicates are no variants: give seeds = [...] outside of the matrix",
    "seeds": "replicates are no variants: give seeds = [...] outside of the matrix",
    "extends": "a file extends another as a whole",
    TABLE: "a matrix holds no other",
}
_AXIS = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_UNFIT = re.compile(r"[^A-Za-z0-9._-]+")


def read_matrix(source: toml.Source) -> tuple[list[list[Choice]], list[Rule], list[Rule]]:
    """Return the values of each axis, which combinations are excluded, and what is laid over some of them.

    Raises:
        InputError: with everything that is wrong with the table.
    """
    return _Reader(source).read()


class _Reader:
    """Reads the table, gathering what is wrong with it."""

    def __init__(self, source: toml.Source) -> None:
        self._source = source
        self._problems: list[str] = []
        #: Axis -> its values, by the text that stands for each.
        self._axes: dict[str, dict[str, Choice]] = {}

    def read(self) -> tuple[list[list[Choice]], list[Rule], list[Rule]]:
        table = self._source.table[TABLE]
        if not isinstance(table, dict):
            raise InputError(self._source.error((TABLE,), f"must be a table of axes, not {table!r}"))
        for name, value in table.items():
            if name not in (EXCLUDE, OVERRIDE):
                self._axis(name, value)
        if not self._axes and not self._problems:
            self._wrong("has no axis", TABLE)
        excluded = [self._rule(where, {}, (TABLE, EXCLUDE, index)) for index, where in self._list(EXCLUDE)]
        adjusted = [self._adjustment(entry, index) for index, entry in self._list(OVERRIDE)]
        if self._problems:
            raise InputError(*self._problems)
        return [list(values.values()) for values in self._axes.values()], excluded, adjusted

    def _axis(self, name: str, value: Any) -> None:
        key: toml.Key = (TABLE, name)
        if isinstance(value, list):
            try:
                *_, varied = toml.keys_within(toml.nested(name, 0))
            except InputError as error:
                self._wrong(str(error), *key)
                return
            axis = str(varied[-1])
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
            others = self._axes[axis]
            if str(choice) in others or any(same_value(choice.value, other.value) for other in others.values()):
                self._wrong("is given twice", *choice.key)
            others[str(choice)] = choice

    def _listed(self, axis: str, name: str, value: Any, key: toml.Key) -> Choice | None:
        if not isinstance(value, str | int | float):
            self._wrong("must be text, a number, true or false; [matrix.NAME] gives names to others", *key)
            return None
        text = as_written(value)
        label = _UNFIT.sub("-", text if isinstance(value, str) else f"{axis}{text}").strip("-")
        if isinstance(value, str) and any(not char.isprintable() for char in value):
            self._wrong(f"{value!r} holds control characters; [matrix.NAME] gives names to values", *key)
        elif not label:
            self._wrong(f"{value!r} gives no name; [matrix.NAME] gives names to values", *key)
        return Choice(axis, value, label, toml.nested(name, value), key, whole=True)

    def _named(self, axis: str, variant: str, table: Any, key: toml.Key) -> Choice | None:
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
        return Choice(axis, variant, variant, table, key, whole=False)

    def _adjustment(self, entry: Any, index: int) -> Rule:
        key: toml.Key = (TABLE, OVERRIDE, index)
        if not isinstance(entry, dict) or set(entry) != {"where", "set"} or not isinstance(entry["set"], dict):
            self._wrong("must be a table of where = { AXIS = VALUE } and set = { keys }", *key)
            return Rule({}, {}, key)
        for name in entry["set"]:
            self._fixed(name, (*key, "set", name))
        rule = self._rule(entry["where"], entry["set"], (*key, "where"))
        return Rule(rule.where, rule.table, (*key, "set"))

    def _rule(self, where: Any, table: Mapping[str, Any], key: toml.Key) -> Rule:
        if not isinstance(where, dict) or not where:
            self._wrong("must be a table of AXIS = VALUE, or of AXIS = [VALUE, VALUE]", *key)
            return Rule({}, table, key)
        found = {}
        for axis, value in where.items():
            if axis not in self._axes:
                known = ", ".join(self._axes)
                self._wrong(f"there is no such axis{nearest(axis, self._axes)} (axes: {known})", *key, axis)
                continue
            found[axis] = value if isinstance(value, list) else [value]
            values = self._axes[axis]
            for one in found[axis]:
                if not any(same_value(choice.value, one) for choice in values.values()):
                    text = as_written(one)
                    listed = ", ".join(values)
                    self._wrong(
                        f"{one!r} is no value of it{nearest(text, values)} (values: {listed})", *key, axis
                    )
        return Rule(found, table, key)

    def _list(self, name: str) -> Iterator[tuple[int, Any]]:
        value = self._source.table[TABLE].get(name, [])
        if isinstance(value, list):
            yield from enumerate(value)
        else:
            self._wrong(f"must be a list of tables, not {value!r}", TABLE, name)

    def _fixed(self, name: str, key: toml.Key) -> None:
        if name in _FIXED:
            self._wrong(f"cannot be varied: {_FIXED[name]}", *key)

    def _wrong(self, message: str, *key: str | int) -> None:
        self._problems.append(self._source.error(key, message))
