"""Names and numbers in results: one spelling for each."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["SETS", "headline_part", "listed", "number", "plural", "scale"]

#: The parts of a split.
SETS = {"train": "training set", "val": "validation set", "test": "test set", "all": "all labelled tracks"}


def number(value: float | None, form: str = ".3f") -> str:
    """Return a number as text; ``n/a`` if it is not defined."""
    return "n/a" if value is None or not math.isfinite(value) else f"{value:{form}}"


def plural(count: int, noun: str) -> str:
    """Return ``1 track``, ``2 tracks``."""
    return f"{count:,} {noun}{'' if count == 1 else 'es' if noun.endswith('tch') else 's'}"


def listed(names: Sequence[str]) -> str:
    """Return ``a``, ``a and b``, ``a, b and c``."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def scale(task: Mapping[str, Any]) -> str:
    """Return the scale of a task's ratings: ``1 to 9``."""
    bounds = task.get("range")
    return f"{bounds[0]:g} to {bounds[1]:g}" if bounds else ""


def headline_part(metrics: Mapping[str, Any]) -> str:
    """Return the part by which results are judged: test, else validation, else training; empty without metrics."""
    return next((part for part in ("test", "val", "train") if metrics.get(part)), "")
