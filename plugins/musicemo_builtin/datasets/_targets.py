"""Checks of the targets that a user declares."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

from musicemo.errors import InputError, nearest

__all__ = ["check_names", "check_ranges"]


def check_ranges(
    ranges: Mapping[str, list[float]], dataset: str = "table", key: str = "regression"
) -> dict[str, tuple[float, float]]:
    """Return target -> lowest and highest value.

    Raises:
        InputError: A range is empty.
    """
    wrong = [
        f"{dataset}: {key}.{name} = [{low:g}, {high:g}]: the lowest value must be below the highest"
        for name, (low, high) in ranges.items()
        if not low < high
    ]
    if wrong:
        raise InputError(*wrong)
    return {name: (float(low), float(high)) for name, (low, high) in ranges.items()}


def check_names(
    dataset: str, declared: Mapping[str, Mapping[str, object]], columns: Mapping[str, str] | None = None
) -> None:
    """Check that each target is declared once, and that there is one for each renamed column.

    Args:
        dataset: The dataset's name.
        declared: Key -> the targets that it declares.
        columns: Target -> column.

    Raises:
        InputError: One is not.
    """
    names = [name for targets in declared.values() for name in targets]
    wrong = [
        f"{dataset}: {name!r} must not be in both {first} and {second}"
        for first, second in combinations(declared, 2)
        for name in declared[first].keys() & declared[second].keys()
    ]
    wrong += [
        f"{dataset}: columns.{name}: {name!r} is not a target{nearest(name, names)}"
        for name in (columns or {}).keys() - set(names)
    ]
    if not names:
        *others, last = declared
        wrong.append(f"{dataset}: at least one target is required in {', '.join(others)} or {last}")
    if wrong:
        raise InputError(*sorted(wrong))
