"""Charts drawn by matplotlib: for files of many formats, and for what shows pictures."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from musicemo.reporting.charts.axes import Axis
from musicemo.reporting.charts.chart import (
    COLOURS,
    LABEL,
    MUTED,
    TICK,
    Band,
    Cells,
    Chart,
    Cursor,
    Intervals,
    Line,
    Points,
    Rule,
    shorten,
)
from musicemo.reporting.charts.fonts import drawable, fonts_for

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw"]

#: The colours of a page's light theme, which can be told apart by the colour-blind and stand out on white.
PALETTE = ("#1f6fb2", "#c8500a", "#0a7d5c", "#b0478a", "#8a6d00", "#3a4049", "#6f55d0", "#138297")
_PLUS, _MINUS = "#4f9ad6", "#e8814a"
_GREY = "0.6"
_INCHES = 4.2


def draw(chart: Chart) -> Figure:
    """Return the chart as a figure without a window."""
    with fonts_for(_texts(chart)):
        return _draw(chart)


def _texts(chart: Chart) -> Iterator[str]:
    """Yield what is written in a chart."""
    yield from (chart.title, *chart.notes)
    for axis in (chart.x, chart.y):
        yield from (axis.label, *(text for _, text in axis.named))
    for mark in chart.marks:
        yield getattr(mark, "label", "")
        yield from (text for row in getattr(mark, "texts", ()) for text in row)


def _shown(text: str, longest: int = LABEL) -> str:
    return shorten(drawable(text), longest)


def _draw(chart: Chart) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_INCHES, _INCHES * chart.aspect + 1.0), layout="constrained")
    axes = figure.add_subplot()
    kinds: dict[type, Callable[[Axes, Any], None]] = {
        Line: _line,
        Band: _band,
        Points: _points,
        Intervals: _intervals,
        Rule: _rule,
        Cells: _cells,
    }
    for mark in chart.marks:
        if not isinstance(mark, Cursor):
            kinds[type(mark)](axes, mark)
    _axis(axes.xaxis, chart.x)
    _axis(axes.yaxis, chart.y)
    axes.set_xlim(chart.x.low, chart.x.high)
    axes.set_ylim(*((chart.y.high, chart.y.low) if chart.downwards else (chart.y.low, chart.y.high)))
    if sum(len(name) for _, name in chart.x.named) > 30:
        axes.tick_params(axis="x", rotation=45)
        for label in axes.get_xticklabels():
            label.set_horizontalalignment("right")
    axes.set_box_aspect(chart.aspect)
    title = filter(None, [chart.title, ", ".join(chart.notes)])
    axes.set_title("\n".join(map(_shown, title)), fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    handles, labels = axes.get_legend_handles_labels()
    if labels:
        axes.legend(handles, [_shown(label) for label in labels], fontsize=7, frameon=False, loc="best")
    return figure


def _axis(axis: Any, description: Axis) -> None:
    if description.log:
        axis._set_axes_scale("log")
    ticks = description.ticks()
    axis.set_ticks([value for value, _ in ticks], labels=[_shown(text, TICK) for _, text in ticks], minor=False)
    axis.set_ticks([], minor=True)
    for label in axis.get_ticklabels():
        label.set_fontsize(8)
    axis.set_label_text(_shown(description.label), fontsize=9)


def _colour(number: int) -> str:
    return _GREY if number == MUTED else PALETTE[number % COLOURS]


def _band(axes: Axes, band: Band) -> None:
    x, low, high = (
        np.array(values, dtype=np.float64) for values in (band.x, band.low, band.high)
    )  # None is NaN
    axes.fill_between(
        x, low, high, color=_colour(band.colour), alpha=0.15, linewidth=0, label=band.label or None
    )


def _line(axes: Axes, line: Line) -> None:
    axes.plot(
        [math.nan if value is None else value for value in line.x],
        [math.nan if value is None else value for value in line.y],
        color=_colour(line.colour),
        linestyle="--" if line.dashed else "-",
        linewidth=0.8 if line.faint else 1.5,
        alpha=0.6 if line.faint else 1,
        label=line.label or None,
    )


def _points(axes: Axes, points: Points) -> None:
    colour = _colour(points.colour)
    axes.scatter(
        [math.nan if value is None else value for value in points.x],
        [math.nan if value is None else value for value in points.y],
        s=40 if points.ring else 16,
        alpha=1 if points.ring else 0.55,
        facecolors="none" if points.ring else colour,
        edgecolors=colour if points.ring else "none",
        linewidths=1 if points.ring else 0,
        label=points.label or None,
        zorder=2.5,
    )


def _intervals(axes: Axes, intervals: Intervals) -> None:
    colour = _colour(intervals.colour)
    for y, low, high in zip(intervals.y, intervals.low, intervals.high, strict=True):
        if low is not None and high is not None:
            axes.plot([low, high], [y, y], color=colour, linewidth=1.5)
    points = [(x, y) for x, y in zip(intervals.value, intervals.y, strict=True) if x is not None]
    if points:
        axes.plot(*zip(*points, strict=True), "o", color=colour, markersize=5, label=intervals.label or None)


def _rule(axes: Axes, rule: Rule) -> None:
    line = axes.axvline if rule.axis == "x" else axes.axhline
    line(rule.at, color=_GREY, linewidth=1, linestyle=":", label=rule.label or None, zorder=1)


def _cells(axes: Axes, cells: Cells) -> None:
    from matplotlib.colors import LinearSegmentedColormap

    x_edges, y_edges = cells.edges()
    colours = [_MINUS, "white", _PLUS] if cells.signed else ["white", _PLUS]
    scale = LinearSegmentedColormap.from_list("strength", colours)
    shown = np.ma.masked_invalid(cells.strength)
    mesh = axes.pcolormesh(x_edges, y_edges, shown, cmap=scale, vmin=-1 if cells.signed else 0, vmax=1)
    if cells.label:
        bar = axes.figure.colorbar(mesh, ax=axes, shrink=0.8)
        bar.set_label(_shown(cells.label), fontsize=8)
    middles = [[(a + b) / 2 for a, b in pairwise(some)] for some in (x_edges, y_edges)]
    for y, row in zip(middles[1], cells.texts, strict=False):
        for x, text in zip(middles[0], row, strict=True):
            if text:
                axes.text(x, y, _shown(text, TICK), ha="center", va="center", fontsize=7)
