"""The variants of a file with a matrix."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from musicemo import _toml
from musicemo.errors import InputError, nearest
from musicemo.experiment.matrix.choices import Choice, as_written
from musicemo.experiment.matrix.table import EXCLUDE, TABLE, read_matrix

__all__ = ["expand", "select"]


def expand(source: _toml.Source, overrides: Sequence[str], stem: str) -> list[_toml.Source]:
    """Return a source for each variant of a file with a ``[matrix]``, and the source itself for any other.

    Axes vary in the order in which they are written, the last one fastest. Over the file's own keys lie those of
    the axes' values, then those of ``override`` where it applies, then the command line's overrides, which leave alone
    what variants are called by.

    Args:
        source: the merged tables of the file.
        overrides: ``KEY=VALUE``, from the command line.
        stem: the experiment's name where none is given.

    Raises:
        InputError: with everything that is wrong with the matrix; an override of an axis's key.
    """
    given = source.copy()
    for override in overrides:
        given.override(override)
    if TABLE not in given.table:
        return [given]
    axes, excluded, adjusted = read_matrix(given)
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
        laid = [choice for choice in choices if choice.whole and choice.stands_in(variant, given)]
        for override in overrides:
            variant.override(override)
            for choice in laid:
                if not choice.stands_in(variant, given):
                    raise InputError(_rival(override, choice, axes, given))
        variant.drop(TABLE)
        name = variant.table.setdefault("name", stem)
        if isinstance(name, str):
            variant.table["name"] = "-".join([name, *(choice.label for choice in choices)])
        variants.append(variant)
    if not variants:
        raise InputError(given.error((TABLE, EXCLUDE), "leaves no variant"))
    names = [str(variant.table["name"]) for variant in variants]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(given.error((TABLE,), f"more than one variant would be called {', '.join(twice)}"))
    return variants


def _rival(override: str, choice: Choice, axes: Sequence[Sequence[Choice]], written: _toml.Source) -> str:
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


def select(variants: Sequence[_toml.Source], only: Sequence[str]) -> list[_toml.Source]:
    """Return the variants with the values that ``AXIS=VALUE`` asks for; values of one axis are alternatives.

    Raises:
        InputError: another form, an axis or a value that is not there, no variant with all of them.
    """
    wanted: dict[str, set[str]] = {}
    axes: dict[str, dict[str, None]] = {}
    for variant in variants:
        for axis, value in variant.variant.items():
            axes.setdefault(axis, {})[as_written(value)] = None
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
        if all(as_written(variant.variant[axis]) in values for axis, values in wanted.items())
    ]
    if not chosen:
        raise InputError(
            f"--only {' --only '.join(only)}: {variants[0].file} has no such variant: it is excluded"
        )
    return chosen
