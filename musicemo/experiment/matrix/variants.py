"""The variants of a file with a matrix."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from musicemo import toml
from musicemo.errors import InputError, nearest
from musicemo.experiment.matrix.choices import Choice, Rule, same_value
from musicemo.experiment.matrix.table import EXCLUDE, TABLE, read_matrix

__all__ = ["expand", "in_variants"]

#: The most combinations of a matrix's values.
MOST_VARIANTS = 10_000
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
    if TABLE not in written.table:
        _wanted(only, {}, written)
        return [written]
    axes, excluded, adjusted = read_matrix(written)
    count = math.prod(map(len, axes))
    if count > MOST_VARIANTS:
        raise InputError(
            written.error(
                (TABLE,), f"has {count:,} combinations, more than {MOST_VARIANTS:,}: use fewer values"
            )
        )
    combinations = [
        choices
        for choices in itertools.product(*axes)
        if not any(rule.applies({choice.axis: choice.value for choice in choices}) for rule in excluded)
    ]
    if not combinations:
        raise InputError(written.error((TABLE, EXCLUDE), "leaves no variant"))
    stem = str(written.table.get("name", stem))
    names = Counter("-".join([stem, *(choice.label for choice in choices)]) for choices in combinations)
    if twice := sorted(name for name, uses in names.items() if uses > 1):
        raise InputError(written.error((TABLE,), f"more than one variant would be called {', '.join(twice)}"))
    wanted = _wanted(only, {axis[0].axis: axis for axis in axes}, written)
    combinations = [
        choices
        for choices in combinations
        if all(choice in wanted.get(choice.axis, choices) for choice in choices)
    ]
    if not combinations:
        raise InputError(f"--only {' --only '.join(only)}: {source.file} has no such variant: it is excluded")
    base = source.copy()
    base.drop(TABLE)
    variants: list[toml.Source] = []
    #: Problem -> the variants that have it.
    problems: dict[str, list[str]] = {}
    for choices in combinations:
        variant = base.copy()
        variant.variant = {choice.axis: choice.value for choice in choices}
        name = variant.table.get("name", stem)
        label = "-".join([str(name), *(choice.label for choice in choices)])
        for problem in _lay(variant, choices, adjusted, overrides, axes, written):
            problems.setdefault(problem, []).append(label)
        variant.drop(TABLE)  # the command line may name it
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
    choices: Sequence[Choice],
    rules: Sequence[Rule],
    overrides: Sequence[str],
    axes: Sequence[Sequence[Choice]],
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


def _rival(override: str, choice: Choice, axes: Sequence[Sequence[Choice]], written: toml.Source) -> str:
    """Return what is wrong with an override of what a variant is called by, and what to say instead."""
    (values,) = ([str(one) for one in axis] for axis in axes if axis[0].axis == choice.axis)
    asked = override.partition("=")[2].strip(" '\"")
    wanted = asked if asked in values else "VALUE"
    key = choice.key[1]
    return (
        f"--set {override}: {key} is an axis of the matrix ({written.origin(choice.key)}), and its variants would be "
        f"called by values that they have not; choose among them with --only {choice.axis}={wanted} (values: "
        f"{', '.join(values)}), or give others with --set 'matrix.\"{key}\"=[...]'"
    )


def _wanted(
    only: Sequence[str], axes: Mapping[str, Sequence[Choice]], written: toml.Source
) -> dict[str, list[Choice]]:
    """Return axis -> the values that ``AXIS=VALUE`` asks for.

    Raises:
        InputError: another form, an axis or a value that is not there.
    """
    wanted: dict[str, list[Choice]] = {}
    for text in only:
        axis, equals, value = (part.strip() for part in text.partition("="))
        where = f"--only {text}: "
        if not equals:
            raise InputError(f"{where}must have the form AXIS=VALUE")
        if not axes:
            raise InputError(f"{where}{written.file} has no matrix to choose from")
        if axis not in axes:
            raise InputError(f"{where}there is no axis {axis!r}{nearest(axis, axes)} (axes: {', '.join(axes)})")
        parsed = toml.parse_value(value)
        matching = [one for one in axes[axis] if value == str(one)] or [
            one for one in axes[axis] if same_value(parsed, one.value)
        ]
        if not matching:
            values = [str(one) for one in axes[axis]]
            listed = ", ".join(values)
            raise InputError(
                f"{where}{axis!r} has no value {value!r}{nearest(value, values)} (values: {listed})"
            )
        wanted.setdefault(axis, []).extend(matching)
    return wanted
