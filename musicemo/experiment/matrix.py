"""The table ``[matrix]``: one experiment for every combination of the values of its axes."""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from musicemo import toml
from musicemo.errors import InputError, nearest

__all__ = ["expand", "in_variants"]

_Layer = tuple[Mapping[str, Any], Callable[[toml.Key], toml.Origin]]


@dataclass(frozen=True)
class _Choice:
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
        return _as_written(self.value)


@dataclass(frozen=True)
class _Rule:
    """What applies to some combinations: those with one of the values given, for every axis named."""

    where: Mapping[str, Sequence[Any]]
    table: Mapping[str, Any]
    key: toml.Key

    def layer(self, written: toml.Source) -> _Layer:
        """Return its keys and where each is written, in the file as it is `written`."""
        return self.table, lambda key: written.origin((*self.key, *key))

    def applies(self, variant: Mapping[str, Any]) -> bool:
        """Tell whether a variant, axis -> value, is among the combinations."""
        return all(
            any(_same_value(variant[axis], one) for one in values) for axis, values in self.where.items()
        )


def _same_value(one: Any, other: Any) -> bool:
    """Tell whether two values are the same in TOML, where true is not 1 and nan is itself."""
    if one != one and other != other:
        return True
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def _as_written(value: Any) -> str:
    """Return a value as it is written in an experiment file, text without its quotes."""
    return str(value).lower() if isinstance(value, bool) else str(value)


_TABLE = "matrix"
#: Keys of the table that are no axes.
_EXCLUDE, _OVERRIDE = "exclude", "override"
#: Keys that every variant shares, or that the matrix itself decides.
_FIXED = {
    "name": "the names of the variants are derived from the axes",
    "seed": "replicates are not variants: set seeds = [...] outside of the matrix",
    "seeds": "replicates are not variants: set seeds = [...] outside of the matrix",
    "extends": "a file can only be extended as a whole",
    _TABLE: "a matrix cannot contain another matrix",
    "ensemble": "an ensemble is the mean over variants",
}
_AXIS = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_UNFIT = re.compile(r"[^A-Za-z0-9._-]+")


def _read_matrix(source: toml.Source) -> tuple[list[list[_Choice]], list[_Rule], list[_Rule]]:
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
        key: toml.Key = (_TABLE, name)
        if isinstance(value, list):
            try:
                *_, varied = toml.keys_within(toml.nested(name, 0))
            except InputError as error:
                self._wrong(str(error), *key)
                return
            axis = str(varied[-1])
            self._fixed(name.partition(".")[0], key)
            choices = [self._listed(axis, name, one, (*key, index)) for index, one in enumerate(value)]
        elif isinstance(value, dict):
            axis = name
            choices = [self._named(axis, variant, table, (*key, variant)) for variant, table in value.items()]
        else:
            self._wrong(f"must be a list of values or a table of variants, not {value!r}", *key)
            return
        if not value:
            self._wrong("has no value", *key)
        if not _AXIS.fullmatch(axis):
            self._wrong("the name of an axis must consist of letters, digits, - and _", *key)
        if axis in self._axes:
            self._wrong(
                f"another axis is also named {axis!r}. Write one of them as a table of named variants", *key
            )
            return
        self._axes[axis] = {}
        for choice in filter(None, choices):
            others = self._axes[axis]
            if str(choice) in others or any(
                _same_value(choice.value, other.value) for other in others.values()
            ):
                self._wrong("is given twice", *choice.key)
            others[str(choice)] = choice

    def _listed(self, axis: str, name: str, value: Any, key: toml.Key) -> _Choice | None:
        if not isinstance(value, str | int | float):
            self._wrong("must be text, a number, true or false. Use [matrix.NAME] to name other values", *key)
            return None
        text = _as_written(value)
        label = _UNFIT.sub("-", text if isinstance(value, str) else f"{axis}{text}").strip("-")
        if isinstance(value, str) and any(not char.isprintable() for char in value):
            self._wrong(f"{value!r} contains control characters. Use [matrix.NAME] to name values", *key)
        elif not label:
            self._wrong(f"{value!r} cannot be a name. Use [matrix.NAME] to name values", *key)
        return _Choice(axis, value, label, toml.nested(name, value), key, whole=True)

    def _named(self, axis: str, variant: str, table: Any, key: toml.Key) -> _Choice | None:
        if not isinstance(table, dict):
            quoted = f'"{axis}.{variant}" = [...]' if isinstance(table, list) else "{ model.type = ... }"
            hint = (
                f" (write the values of a dotted key as {quoted}, with quotes)"
                if isinstance(table, list)
                else ""
            )
            self._wrong(f"must be a table of the keys that it sets{hint}, not {table!r}", *key)
            return None
        if not _AXIS.fullmatch(variant):
            self._wrong("the name of a variant must consist of letters, digits, - and _", *key)
        for name in table:
            self._fixed(name, (*key, name))
        return _Choice(axis, variant, variant, table, key, whole=False)

    def _adjustment(self, entry: Any, index: int) -> _Rule:
        key: toml.Key = (_TABLE, _OVERRIDE, index)
        if not isinstance(entry, dict) or set(entry) != {"where", "set"} or not isinstance(entry["set"], dict):
            self._wrong("must be a table of where = { AXIS = VALUE } and set = { keys }", *key)
            return _Rule({}, {}, key)
        for name in entry["set"]:
            self._fixed(name, (*key, "set", name))
        rule = self._rule(entry["where"], entry["set"], (*key, "where"))
        return _Rule(rule.where, rule.table, (*key, "set"))

    def _rule(self, where: Any, table: Mapping[str, Any], key: toml.Key) -> _Rule:
        if not isinstance(where, dict) or not where:
            self._wrong("must be a table of AXIS = VALUE, or of AXIS = [VALUE, VALUE]", *key)
            return _Rule({}, table, key)
        allowed = {}
        for axis, value in where.items():
            if axis not in self._axes:
                listed_axes = ", ".join(self._axes)
                self._wrong(
                    f"there is no such axis{nearest(axis, self._axes)} (axes: {listed_axes})", *key, axis
                )
                continue
            allowed[axis] = value if isinstance(value, list) else [value]
            values = self._axes[axis]
            for one in allowed[axis]:
                if not any(_same_value(choice.value, one) for choice in values.values()):
                    text = _as_written(one)
                    listed = ", ".join(values)
                    self._wrong(
                        f"{one!r} is not a value of this axis{nearest(text, values)} (values: {listed})",
                        *key,
                        axis,
                    )
        return _Rule(allowed, table, key)

    def _list(self, name: str) -> Iterator[tuple[int, Any]]:
        value = self._source.table[_TABLE].get(name, [])
        if isinstance(value, list):
            yield from enumerate(value)
        else:
            self._wrong(f"must be a list of tables, not {value!r}", _TABLE, name)

    def _fixed(self, name: str, key: toml.Key) -> None:
        if name in _FIXED:
            self._wrong(f"cannot be varied: {_FIXED[name]}", *key)

    def _wrong(self, message: str, *key: str | int) -> None:
        self._problems.append(self._source.error(key, message))


#: The most combinations of a matrix's values.
_MOST_VARIANTS = 10_000
#: Variants that are named in an error.
_EXAMPLES = 3


def expand(
    source: toml.Source, overrides: Sequence[str], stem: str, only: Sequence[str] = ()
) -> list[toml.Source]:
    """Return a source for each variant of a file with a ``[matrix]``, and the source itself for any other.

    Axes vary in the order in which they are written, the last one fastest. Over the file's own keys lie those of all
    the axes' values, as one layer; then those of each ``override`` that applies; then the command line's overrides. A
    value that a variant is called by must stand in it, and so must every other one that no later layer sets again.

    Args:
        source: the merged tables of the file.
        overrides: ``KEY=VALUE``, from the command line.
        stem: the experiment's name where none is given.
        only: ``AXIS=VALUE``, which variants to return; several values of one axis are alternatives.

    Raises:
        InputError: with everything that is wrong with the matrix; an override of an axis's key; a value that does not
            stand in its variant; a choice of an axis or a value that does not exist.
    """
    written = source.copy()
    written.override(overrides)
    if _TABLE not in written.table:
        _wanted(only, {}, written)
        return [written]
    axes, excluded, adjusted = _read_matrix(written)
    count = math.prod(map(len, axes))
    if count > _MOST_VARIANTS:
        raise InputError(
            written.error(
                (_TABLE,), f"has {count:,} combinations, more than {_MOST_VARIANTS:,}: use fewer values"
            )
        )
    combinations = [
        choices
        for choices in itertools.product(*axes)
        if not any(rule.applies({choice.axis: choice.value for choice in choices}) for rule in excluded)
    ]
    if not combinations:
        raise InputError(written.error((_TABLE, _EXCLUDE), "leaves no variant"))
    stem = str(written.table.get("name", stem))
    names = Counter("-".join([stem, *(choice.label for choice in choices)]) for choices in combinations)
    if twice := sorted(name for name, uses in names.items() if uses > 1):
        raise InputError(
            written.error((_TABLE,), f"more than one variant would have the name {', '.join(twice)}")
        )
    wanted = _wanted(only, {axis[0].axis: axis for axis in axes}, written)
    combinations = [
        choices
        for choices in combinations
        if all(choice in wanted.get(choice.axis, choices) for choice in choices)
    ]
    if not combinations:
        raise InputError(f"--only {' --only '.join(only)}: {source.file} excludes this variant")
    base = source.copy()
    base.drop(_TABLE)
    variants: list[toml.Source] = []
    #: Problem -> the variants that have it.
    problems: dict[str, list[str]] = {}
    for choices in combinations:
        variant = base.copy()
        variant.variant = {choice.axis: choice.value for choice in choices}
        variant.labels = {choice.axis: choice.label for choice in choices}
        name = variant.table.get("name", stem)
        label = "-".join([str(name), *(choice.label for choice in choices)])
        for problem in _lay(variant, choices, adjusted, overrides, axes, written):
            problems.setdefault(problem, []).append(label)
        variant.drop(_TABLE)  # the command line may name it
        name = variant.table.setdefault("name", stem)
        if isinstance(name, str):
            variant.table["name"] = "-".join([name, *(choice.label for choice in choices)])
        variants.append(variant)
    if problems:
        raise InputError(*(in_variants(text, names, len(variants)) for text, names in problems.items()))
    return variants


def in_variants(problem: str, names: Sequence[str], count: int) -> str:
    """Return a problem with the variants that have it, unless all `count` do."""
    if len(names) == count:
        return problem
    more = f" and {len(names) - _EXAMPLES} more" if len(names) > _EXAMPLES else ""
    return f"{problem} (variant{'s' * (len(names) > 1)} {', '.join(names[:_EXAMPLES])}{more})"


def _lay(
    variant: toml.Source,
    choices: Sequence[_Choice],
    rules: Sequence[_Rule],
    overrides: Sequence[str],
    axes: Sequence[Sequence[_Choice]],
    written: toml.Source,
) -> Iterator[str]:
    """Lay over a variant what its axes, the rules and the command line say; yield each value that does not stand."""
    requests = variant.lay_together([choice.layer(written) for choice in choices])
    strict = [one for one in requests if choices[one.part].whole]  # what the variant is called by
    if lost := variant.unmet(requests, may_be_replaced=False):
        yield from _replaced(variant, lost)
        return
    for rule in rules:
        if rule.applies(variant.variant):
            requests += variant.lay_together([rule.layer(written)])
    if lost := [*variant.unmet(strict, may_be_replaced=False), *variant.unmet(requests)]:
        yield from _replaced(variant, lost)
        return
    before = variant.copy() if overrides else variant
    requests += variant.override(overrides)
    for request in variant.unmet(strict, may_be_replaced=False):
        yield _rival(_culprit(overrides, request, before), choices[request.part], axes, written)
    yield from _replaced(variant, [one for one in variant.unmet(requests) if one not in strict])


def _replaced(variant: toml.Source, lost: Sequence[toml.Request]) -> Iterator[str]:
    for one in dict.fromkeys((request.origin, request.key) for request in lost):
        origin, key = one
        yield f"{origin}: {toml.dotted(key)}: this value is lost: {variant.origin(key)} replaces it"


def _culprit(overrides: Sequence[str], request: toml.Request, before: toml.Source) -> str:
    """Return the override that takes a value away."""
    for override in overrides:
        trial = before.copy()
        trial.override([override])
        if trial.unmet([request]):
            return override
    return overrides[-1]


def _rival(override: str, choice: _Choice, axes: Sequence[Sequence[_Choice]], written: toml.Source) -> str:
    """Return what is wrong with an override of what a variant is called by, and what to say instead."""
    (values,) = ([str(one) for one in axis] for axis in axes if axis[0].axis == choice.axis)
    asked = override.partition("=")[2].strip(" '\"")
    wanted = asked if asked in values else "VALUE"
    key = choice.key[1]
    return (
        f"--set {override}: {key} is an axis of the matrix ({written.origin(choice.key)}), so the names of the "
        "variants "
        f"would be wrong. Select variants with --only {choice.axis}={wanted} (values: "
        f"{', '.join(values)}), or set other values with --set 'matrix.\"{key}\"=[...]'"
    )


def _wanted(
    only: Sequence[str], axes: Mapping[str, Sequence[_Choice]], written: toml.Source
) -> dict[str, list[_Choice]]:
    """Return axis -> the values that ``AXIS=VALUE`` asks for.

    Raises:
        InputError: another form, an axis or a value that is not there.
    """
    wanted: dict[str, list[_Choice]] = {}
    for text in only:
        axis, equals, value = (part.strip() for part in text.partition("="))
        where = f"--only {text}: "
        if not equals:
            raise InputError(f"{where}must have the form AXIS=VALUE")
        if not axes:
            raise InputError(f"{where}{written.file} has no matrix")
        if axis not in axes:
            raise InputError(f"{where}unknown axis {axis!r}{nearest(axis, axes)} (axes: {', '.join(axes)})")
        parsed = toml.parse_value(value)
        matching = [one for one in axes[axis] if value == str(one)] or [
            one for one in axes[axis] if _same_value(parsed, one.value)
        ]
        if not matching:
            values = [str(one) for one in axes[axis]]
            listed = ", ".join(values)
            raise InputError(
                f"{where}{axis!r} has no value {value!r}{nearest(value, values)} (values: {listed})"
            )
        wanted.setdefault(axis, []).extend(matching)
    return wanted
