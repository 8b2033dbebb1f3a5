"""Checks of the targets that a user declares."""

from __future__ import annotations

from collections.abc import Mapping

from musicemo.errors import InputError, nearest

__all__ = ["check_names", "check_ranges"]


def check_ranges(
    regression: Mapping[str, list[float]], dataset: str = "table"
) -> dict[str, tuple[float, float]]:
    """Return target -> lowest and highest value.

    Raises:
        InputError: A range is empty.
    """
    wrong = [
        f"{dataset}: regression.{name} = [{low:g}, {high:g}]: the lowest value must be below the highest"
        for name, (low, high) in regression.items()
        if not low < high
    ]
    if wrong:
        raise InputError(*wrong)
    return {name: (float(low), float(high)) for name, (low, high) in regression.items()}


def check_names(
    dataset: str,
    regression: Mapping[str, object],
    classification: Mapping[str, object],
    columns: Mapping[str, str] | None = None,
) -> None:
    """Check that each target is declared once, and that there is one for each renamed column.

    Raises:
        InputError: One is not.
    """
    names = [*regression, *classification]
    wrong = [
        f"{dataset}: {name!r} must not be in both regression and classification"
        for name in regression.keys() & classification
    ]
    wrong += [
        f"{dataset}: columns.{name}: {name!r} is not a target{nearest(name, names)}"
        for name in (columns or {}).keys() - set(names)
    ]
    if not names:
        wrong.append(f"{dataset}: at least one target is required in regression or classification")
    if wrong:
        raise InputError(*sorted(wrong))
