"""Names and numbers as a reader wants them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from musicemo.reporting.blocks import Cell

__all__ = ["PARTS", "interval", "measured", "number", "plural", "scale"]

PARTS = {"train": "training", "val": "validation", "test": "test"}


def number(value: float | None, digits: int = 3) -> str:
    """Return a number with so many digits behind the point; what is not defined is said to be so."""
    if value is None or not math.isfinite(value):
        return "n/a"
    return f"{value:.{digits}f}".replace("-", "−")


def interval(low: float | None, high: float | None) -> str:
    """Return an interval; nothing where there is none."""
    known = low is not None and high is not None and math.isfinite(low) and math.isfinite(high)
    return f"[{number(low, 2)}, {number(high, 2)}]" if known else ""


def measured(metric: Mapping[str, Any] | None, *, strong: bool = False) -> Cell:
    """Return a metric of `results.json`, its interval behind it."""
    found = metric or {}
    return Cell(number(found.get("value")), interval(found.get("low"), found.get("high")), strong)


def scale(task: Mapping[str, Any]) -> str:
    """Return what a task's ratings are measured in: ``1 to 9``."""
    bounds = task.get("range")
    return f"{bounds[0]:g} to {bounds[1]:g}" if bounds else ""


def plural(count: int, noun: str) -> str:
    """Return ``1 track``, ``2 tracks``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
