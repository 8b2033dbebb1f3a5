"""Charts as plain data, drawn as SVG that follows a page's theme, or by matplotlib."""

from musicemo.reporting.charts.axes import Axis, categories, spanning
from musicemo.reporting.charts.chart import (
    MUTED,
    Band,
    Cells,
    Chart,
    Cursor,
    Excerpt,
    Intervals,
    Line,
    Mark,
    Points,
    Rule,
)
from musicemo.reporting.charts.figure import draw
from musicemo.reporting.charts.fonts import drawable, fonts_for
from musicemo.reporting.charts.svg import legend, to_svg

__all__ = [
    "MUTED",
    "Axis",
    "Band",
    "Cells",
    "Chart",
    "Cursor",
    "Excerpt",
    "Intervals",
    "Line",
    "Mark",
    "Points",
    "Rule",
    "categories",
    "draw",
    "drawable",
    "fonts_for",
    "legend",
    "spanning",
    "to_svg",
]
