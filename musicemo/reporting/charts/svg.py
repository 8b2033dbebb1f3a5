"""Charts as SVG without colours of its own: classes, which a page's style sheet gives a theme.

Classes: ``axis`` and ``tick`` texts, ``grid`` lines, ``line``, ``area``, ``dot``, ``ring``, ``whisker``, ``rule``,
``cell``, with ``c0`` to ``c7`` and ``muted`` for colours, ``dash``, ``faint``, ``plus`` and ``minus``. ``plays`` are
points whose tracks a page plays when they are clicked, and ``cursor`` are marks that follow its player; see
`players.js`.

SVG is written here and not by matplotlib: a chart takes 6 kB instead of 118 kB, its colours follow the reader's theme,
its texts are texts, and a page is made without the second that the import of matplotlib takes.
"""

from __future__ import annotations

import html
import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np

from musicemo.reporting.charts.axes import drawable
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
from musicemo.terminal import visible

__all__ = ["legend", "to_svg"]

WIDTH = 360
_CHARACTER = 6.0
"""Width of a character of a tick's text, about."""
_TEXT_IN = 17.0
"""Least width of a cell that has room for a text."""
_LEVELS = 20
"""Strengths of a cell's colour that are told apart."""


def to_svg(chart: Chart, address: Callable[[Path], str] | None = None) -> str:
    """Return an ``svg`` element.

    Args:
        chart: The chart.
        address: Returns the address of an audio file in the page. None: no point is playable.
    """
    return _Canvas(chart, address).svg()


def legend(chart: Chart) -> list[tuple[str, str]]:
    """Return what stands for each named series, an ``svg`` element, and its name."""
    symbols: dict[str, str] = {}
    for mark in chart.marks:
        if isinstance(mark, Rule | Cells | Cursor) or not mark.label or mark.label in symbols:
            continue
        if isinstance(mark, Line):
            inner = f'<path class="line {_colour(mark.colour)}{" dash" * mark.dashed}" d="M1 6h20"/>'
        elif isinstance(mark, Band):
            inner = f'<path class="area {_colour(mark.colour)}" d="M1 1H21V11H1z"/>'
        elif isinstance(mark, Intervals):
            inner = f'<path class="whisker {_colour(mark.colour)}" d="M1 6h20"/>' + _circle(
                mark.colour, 11, 6, 3.5
            )
        else:
            inner = _circle(mark.colour, 11, 6, 4, "ring" if mark.ring else "dot")
        symbols[mark.label] = f'<svg class="key" viewBox="0 0 22 12" aria-hidden="true">{inner}</svg>'
    return [(drawn, label) for label, drawn in symbols.items()]


def escape(text: str) -> str:
    """Return text as XML has it: there, control characters are an error."""
    return html.escape(visible(text))


def _colour(colour: int) -> str:
    return "muted" if colour == MUTED else f"c{colour % COLOURS}"


def _circle(
    colour: int, x: float, y: float, radius: float, kind: str = "dot", title: str = "", more: str = ""
) -> str:
    end = f"><title>{escape(title)}</title></circle>" if title else "/>"
    return f'<circle class="{kind} {_colour(colour)}" cx="{_n(x)}" cy="{_n(y)}" r="{radius:g}"{more}{end}'


def _n(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


class _Canvas:
    """One chart with its margins, in the units of the SVG."""

    def __init__(self, chart: Chart, address: Callable[[Path], str] | None = None) -> None:
        self.chart = chart
        self.address = address
        self.plays = address is not None and any(
            track in chart.excerpts for mark in chart.marks if isinstance(mark, Points) for track in mark.tracks
        )
        self.x_ticks = chart.x.ticks(5)
        self.y_ticks = chart.y.ticks(5 if chart.aspect > 0.8 else 4)
        longest = max((len(shorten(text, TICK)) for _, text in self.y_ticks), default=1)
        self.left = 8 + _CHARACTER * longest
        last = self.x_ticks[-1][1] if self.x_ticks and not chart.x.named else ""
        self.right = WIDTH - max(10.0, _CHARACTER * len(last) / 2 + 1)
        across = (self.right - self.left) / max(len(self.x_ticks), 1)
        widest = max((len(shorten(text, TICK)) for _, text in self.x_ticks), default=1)
        #: Names of columns that would touch each other are turned.
        self.turned = bool(chart.x.named) and widest * _CHARACTER > across - 4
        below = 8 + widest * _CHARACTER * 0.72 if self.turned else 15.0
        self.top = 20.0 if chart.y.label else 8.0
        self.bottom = self.top + (self.right - self.left) * chart.aspect
        self.height = self.bottom + below + (17 if chart.x.label else 4)

    def px(self, value: float) -> float:
        return self.left + self.chart.x.place(value) * (self.right - self.left)

    def py(self, value: float) -> float:
        place = self.chart.y.place(value)
        return self.top + (place if self.chart.downwards else 1 - place) * (self.bottom - self.top)

    def svg(self) -> str:
        chart = self.chart
        draw: dict[type, Callable[..., Iterator[str]]] = {
            Line: self._line,
            Band: self._band,
            Points: self._points,
            Intervals: self._intervals,
            Rule: self._rule,
            Cells: self._cells,
            Cursor: self._cursor,
        }
        label = escape(chart.description or chart.title)
        role = "group" if self.plays else "img"  # the parts of an image cannot be reached
        parts = [
            f'<svg class="chart" viewBox="0 0 {WIDTH} {_n(self.height)}" role="{role}" aria-label="{label}">',
            *self._axes(),
        ]
        for mark in chart.marks:
            parts += draw[type(mark)](mark)
        return "".join([*parts, "</svg>"])

    def _axes(self) -> Iterator[str]:
        matrix = any(isinstance(mark, Cells) for mark in self.chart.marks)
        lines = ""
        for value, text in self.y_ticks:
            y = self.py(value)
            lines += f"M{_n(self.left)} {_n(y)}H{_n(self.right)}"
            yield self._text("tick", self.left - 5, y + 3.5, text, "end")
        for value, text in self.x_ticks:
            x = self.px(value)
            if not self.chart.x.named:
                lines += f"M{_n(x)} {_n(self.top)}V{_n(self.bottom)}"
            if self.turned:
                turn = f' transform="rotate(-45 {_n(x + 3)} {_n(self.bottom + 11)})"'
                yield self._text("tick", x + 3, self.bottom + 11, text, "end", turn)
            else:
                yield self._text("tick", x, self.bottom + 14, text, "middle")
        if not matrix:
            yield f'<path class="grid" d="{lines}"/>'
        if self.chart.y.label:
            yield self._text("axis", 2, 11, self.chart.y.label, "start", longest=LABEL)
        if self.chart.x.label:
            yield self._text("axis", self.right, self.height - 4, self.chart.x.label, "end", longest=LABEL)

    @staticmethod
    def _text(
        kind: str, x: float, y: float, text: str, anchor: str, more: str = "", longest: int = TICK
    ) -> str:
        shown = shorten(text, longest)
        title = f"<title>{escape(text)}</title>" if shown != text else ""
        place = f'x="{_n(x)}" y="{_n(y)}" text-anchor="{anchor}"{more}'
        return f'<text class="{kind}" {place}>{escape(shown)}{title}</text>'

    def _line(self, line: Line) -> Iterator[str]:
        path = ""
        for piece in line.pieces():
            path += "M" + "L".join(f"{_n(self.px(x))} {_n(self.py(y))}" for x, y in piece)
            if len(piece) == 1:
                path += "h0"  # a line of no length, which round ends make a dot
        if path:
            title = f"<title>{escape(line.label)}</title>" if line.label else ""
            look = _colour(line.colour) + " dash" * line.dashed + " faint" * line.faint
            yield f'<path class="line {look}" d="{path}">{title}</path>'

    def _band(self, band: Band) -> Iterator[str]:
        path = "".join(
            "M" + "L".join(f"{_n(self.px(x))} {_n(self.py(y))}" for x, y in piece) + "z"
            for piece in band.pieces()
        )
        if path:
            yield f'<path class="area {_colour(band.colour)}" d="{path}"/>'

    def _points(self, points: Points) -> Iterator[str]:
        titles = points.titles or [""] * len(points.x)
        tracks = points.tracks or [""] * len(points.x)
        kind, radius = ("ring", 5.0) if points.ring else ("dot", 3.0)
        for x, y, title, track in zip(points.x, points.y, titles, tracks, strict=True):
            if drawable(x) and drawable(y):
                playable = self._playable(track)
                yield _circle(
                    points.colour,
                    self.px(x),
                    self.py(y),
                    radius,
                    f"{kind} plays" if playable else kind,
                    title,
                    playable,
                )

    def _playable(self, track: str) -> str:
        """Return the attributes of a point that plays a track; empty if it cannot be played."""
        excerpt = self.chart.excerpts.get(track)
        if excerpt is None or self.address is None:
            return ""
        address = escape(self.address(excerpt.file))
        return f' role="button" tabindex="-1" data-audio="{address}" data-start="{excerpt.start:g}"'

    def _cursor(self, cursor: Cursor) -> Iterator[str]:
        """Yield an element at the origin with the places to which the script moves it."""
        places = {"times": [round(time, 3) for time in cursor.times]}
        places["x"] = [round(self.px(x), 1) for x in cursor.x]
        if cursor.y:
            places["y"] = [round(self.py(y), 1) for y in cursor.y]
        data = "".join(f' data-{name}="{json.dumps(values)}"' for name, values in places.items())
        if cursor.y:
            yield f'<circle class="cursor" r="6"{data}/>'
        else:
            yield f'<path class="cursor" d="M0 {_n(self.top)}V{_n(self.bottom)}"{data}/>'

    def _intervals(self, intervals: Intervals) -> Iterator[str]:
        for y, value, low, high in zip(
            intervals.y, intervals.value, intervals.low, intervals.high, strict=True
        ):
            place = self.py(y)
            if drawable(low) and drawable(high):
                ends = f"M{_n(self.px(low))} {_n(place)}H{_n(self.px(high))}"
                yield f'<path class="whisker {_colour(intervals.colour)}" d="{ends}"/>'
            if drawable(value):
                title = f"{value:.3f}" + ("" if low is None or high is None else f" [{low:.2f}, {high:.2f}]")
                yield _circle(intervals.colour, self.px(value), place, 4, "dot whole", title)

    def _rule(self, rule: Rule) -> Iterator[str]:
        if rule.axis == "x":
            x = self.px(rule.at)
            path = f"M{_n(x)} {_n(self.top)}V{_n(self.bottom)}"
            anchor, shift = ("end", -4) if x > (self.left + self.right) / 2 else ("start", 4)
            text = self._text("note", x + shift, self.top + 10, rule.label, anchor, longest=LABEL)
        else:
            y = self.py(rule.at)
            path = f"M{_n(self.left)} {_n(y)}H{_n(self.right)}"
            text = self._text("note", self.right - 2, y - 4, rule.label, "end", longest=LABEL)
        yield f'<path class="rule" d="{path}"/>' + (text if rule.label else "")

    def _cells(self, cells: Cells) -> Iterator[str]:
        x_edges, y_edges = cells.edges()
        paths: dict[tuple[bool, int], str] = defaultdict(str)
        texts = ""
        columns = [(self.px(a), self.px(b)) for a, b in pairwise(x_edges)]
        gap = 0.5 if len(columns) < 20 else 0.0
        for row, (first, second) in enumerate(pairwise(y_edges)):
            top, bottom = sorted((self.py(first), self.py(second)))
            for column, (left, right) in enumerate(columns):
                strength = float(cells.strength[row, column])
                level = round(abs(strength) * _LEVELS) if np.isfinite(strength) else 0
                if level:
                    corner = f"M{_n(left + gap)} {_n(top + gap)}"
                    size = f"h{_n(right - left - 2 * gap)}v{_n(bottom - top - 2 * gap)}"
                    paths[strength < 0, min(level, _LEVELS)] += f"{corner}{size}H{_n(left + gap)}z"
                if cells.texts and right - left >= _TEXT_IN and (text := cells.texts[row][column]):
                    texts += self._text("value", (left + right) / 2, (top + bottom) / 2 + 3.5, text, "middle")
        for (negative, level), path in sorted(paths.items()):
            kind = "minus" if negative else "plus"
            yield f'<path class="cell {kind}" opacity="{0.85 * level / _LEVELS:.2g}" d="{path}"/>'
        frame = f"M{_n(self.left)} {_n(self.top)}H{_n(self.right)}V{_n(self.bottom)}H{_n(self.left)}z"
        yield f'<path class="frame" d="{frame}"/>{texts}'
