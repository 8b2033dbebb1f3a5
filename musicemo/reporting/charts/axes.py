"""Axes: what a value's place is, and which values are named."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeGuard

__all__ = ["Axis", "Tick", "categories", "drawable", "spanning"]

Tick = tuple[float, str]

_LOG_RATIO = 10
"""A quantity that changes by more is drawn on a logarithmic axis, if it may be."""

_LARGEST = 1e100
"""Larger values have no place in a chart: powers of ten and differences of them overflow."""


@dataclass(frozen=True)
class Axis:
    """From `low` to `high`, which differ."""

    low: float
    high: float
    label: str = ""
    log: bool = False
    #: Whether there is nothing between whole numbers.
    whole: bool = False
    #: Named values, instead of round numbers.
    named: Sequence[Tick] = ()

    def place(self, value: float) -> float:
        """Return where a value stands: 0 at `low`, 1 at `high`."""
        if self.log:
            return (math.log(value) - math.log(self.low)) / (math.log(self.high) - math.log(self.low))
        return (value - self.low) / (self.high - self.low)

    def ticks(self, about: int = 5) -> list[Tick]:
        """Return about so many named values: the given ones, or round numbers with no more digits than needed."""
        if self.named:
            return [tick for tick in self.named if self.low <= tick[0] <= self.high]
        step = 1.0 if self.log else self._step(about)
        values = self._powers(about) if self.log else self._multiples(step)
        if self.log:
            return [(value, f"{value:g}") for value in values]
        digits = next(
            d for d in range(16) if d == 15 or all(abs(v - round(v, d)) < 1e-9 * step for v in values)
        )
        return [(value, f"{value:.{digits}f}".replace("-", "−")) for value in values]

    def _step(self, about: int) -> float:
        rough = (self.high - self.low) / max(about, 1)
        power = 10.0 ** math.floor(math.log10(rough))
        factors = (1, 2, 5, 10) if self.whole else (1, 2, 2.5, 5, 10)
        step = next(factor * power for factor in factors if factor * power >= rough * 0.999)
        return max(step, 1.0) if self.whole else step

    def _multiples(self, step: float) -> list[float]:
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [number * step for number in range(first, last + 1)]

    def _powers(self, about: int) -> list[float]:
        exponents = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        for factors in ((1, 2, 5), (1, 3), (1,)):
            ticks = [factor * 10.0**power for power in exponents for factor in factors]
            ticks = [value for value in ticks if self.low <= value <= self.high]
            if len(ticks) <= about + 2:
                return ticks
        return ticks[:: -(-len(ticks) // about)]


def drawable(value: float | None) -> TypeGuard[float]:
    """Return whether a value has a place in a chart: not None, not NaN, and at most 1e100 in size."""
    return value is not None and abs(value) <= _LARGEST


def spanning(
    values: Iterable[float | None],
    label: str = "",
    *,
    low: float | None = None,
    high: float | None = None,
    margin: float = 0.05,
    log: bool = False,
) -> Axis:
    """Return an axis on which all values have a place.

    Args:
        values: the values in the chart; those that are not `drawable` are left out.
        label: the axis's name, with its unit.
        low: a value that is on the axis at least, at its lower end.
        high: likewise at its upper end.
        margin: the share of the span that is left free at each end that is not given.
        log: whether a logarithmic axis is wanted where values are positive and span more than a decade.
    """
    drawn = [value for value in values if drawable(value)]
    ends = [end for end in (low, high) if end is not None]
    lowest, highest = min([*drawn, *ends], default=0.0), max([*drawn, *ends], default=1.0)
    if log and drawn and lowest > 0 and highest / lowest > _LOG_RATIO:
        return Axis(lowest / 1.1, highest * 1.1, label, log=True)
    free = margin * (highest - lowest) or 0.5 * max(abs(highest), 1e-9) or 0.5
    bottom = lowest if low is not None and low <= lowest else lowest - free
    top = highest if high is not None and high >= highest else highest + free
    return Axis(bottom, top, label)


def categories(names: Sequence[str], label: str = "") -> Axis:
    """Return an axis with a unit of space for each name, the first around 0."""
    return Axis(-0.5, len(names) - 0.5, label, named=list(enumerate(names)))
