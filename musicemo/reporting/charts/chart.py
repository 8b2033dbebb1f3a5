"""What a chart shows, without how it is drawn."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from musicemo.reporting.charts.axes import Axis, drawable
from musicemo.terminal import visible

__all__ = [
    "COLOURS",
    "MUTED",
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
    "shorten",
]

#: The colour of what is not data: a line of reference.
MUTED = -1

#: Characters of a tick's text, and of a text in a line of its own; a longer one is cut.
TICK, LABEL = 17, 52

#: Colours that can be told apart; what comes after is drawn with them again, dashed.
COLOURS = 8

Values = Sequence[float | None]


@dataclass(frozen=True)
class Line:
    """A line through points; it breaks where a value is None or not finite."""

    x: Values
    y: Values
    label: str = ""
    colour: int = 0
    dashed: bool = False
    #: One of many that belong together.
    faint: bool = False

    def pieces(self) -> Iterator[list[tuple[float, float]]]:
        """Yield the unbroken pieces."""
        piece: list[tuple[float, float]] = []
        for x, y in zip(self.x, self.y, strict=True):
            if drawable(x) and drawable(y):
                piece.append((x, y))
            elif piece:
                yield piece
                piece = []
        if piece:
            yield piece


@dataclass(frozen=True)
class Band:
    """The area between two lines, such as a prediction minus and plus its error; it breaks where they do."""

    x: Values
    low: Values
    high: Values
    label: str = ""
    colour: int = 0

    def pieces(self) -> Iterator[list[tuple[float, float]]]:
        """Yield the outline of each unbroken piece."""
        for low, high in zip(Line(self.x, self.low).pieces(), Line(self.x, self.high).pieces(), strict=True):
            yield [*low, *reversed(high)]


@dataclass(frozen=True)
class Points:
    """Dots, or rings around other dots; where many lie upon each other they are darker."""

    x: Values
    y: Values
    label: str = ""
    colour: int = 0
    ring: bool = False
    #: One text a point, shown where a pointer rests on it. If there are tracks, it begins with the track's id.
    titles: Sequence[str] = ()
    #: One id a point: the track that a page with players plays when the point is clicked.
    tracks: Sequence[str] = ()


@dataclass(frozen=True)
class Intervals:
    """Values with their intervals along x, one at each y; a value without an interval has None for its ends."""

    y: Sequence[float]
    value: Values
    low: Values
    high: Values
    label: str = ""
    colour: int = 0


@dataclass(frozen=True)
class Rule:
    """A line across the chart at one value."""

    at: float
    axis: Literal["x", "y"] = "x"
    label: str = ""


@dataclass(frozen=True)
class Cells:
    """A matrix of coloured cells.

    A cell's strength is in [0, 1], or in [-1, 1] where `signed`; NaN is left empty.
    """

    strength: NDArray[np.float64]
    #: Edges of the columns along x and of the rows along y: one more than there are; unit steps around 0, 1, ... else.
    x: Sequence[float] = ()
    y: Sequence[float] = ()
    texts: Sequence[Sequence[str]] = ()
    signed: bool = False
    #: What a strong cell means.
    label: str = ""

    def edges(self) -> tuple[Sequence[float], Sequence[float]]:
        """Return the edges of columns and rows."""
        rows, columns = self.strength.shape
        return self.x or [n - 0.5 for n in range(columns + 1)], self.y or [n - 0.5 for n in range(rows + 1)]


@dataclass(frozen=True)
class Cursor:
    """A mark that follows a page's player: a ring at x and y, or a line across at x. A chart in a file has none.

    Between two times it moves along a straight line.
    """

    #: Seconds from the start of the audio, in ascending order.
    times: Sequence[float]
    x: Sequence[float]
    y: Sequence[float] = ()


Mark = Line | Band | Points | Intervals | Rule | Cells | Cursor


@dataclass(frozen=True)
class Excerpt:
    """A part of a track's audio in a file."""

    file: Path
    #: Seconds from the start of the audio.
    start: float = 0.0
    #: Name of the track.
    caption: str = ""


@dataclass(frozen=True)
class Chart:
    """A small chart; several of them make a figure."""

    #: What it shows, as its heading.
    title: str
    x: Axis
    y: Axis
    #: Drawn in this order.
    marks: Sequence[Mark]
    #: The same in a sentence, for those who cannot see it; the title where there is none.
    description: str = ""
    #: Height of the plot over its width.
    aspect: float = 0.62
    #: Whether y runs downwards, as the rows of a matrix do.
    downwards: bool = False
    #: A name for a file; the title where there is none.
    name: str = ""
    #: What stands smaller behind the title.
    notes: Sequence[str] = ()
    #: Id of the track that it shows over time.
    track: str = ""
    #: Track -> audio that a page plays: of `track`, or of the points' tracks.
    excerpts: Mapping[str, Excerpt] = field(default_factory=dict)

    @property
    def tracks(self) -> list[str]:
        """The ids of the tracks that it names, each once."""
        of_points = (track for mark in self.marks if isinstance(mark, Points) for track in mark.tracks)
        return list(dict.fromkeys([*filter(None, [self.track]), *of_points]))

    @property
    def span(self) -> tuple[float, float] | None:
        """The time in seconds over which it shows `track`; None if it shows no track over time."""
        times = [time for mark in self.marks if isinstance(mark, Cursor) for time in mark.times]
        return (min(times), max(times)) if self.track and times else None


def shorten(text: str, longest: int) -> str:
    """Return a text of at most so many characters that can be shown: of a longer one the beginning and the end."""
    text = visible(text)
    if len(text) <= longest:
        return text
    end = (longest - 1) // 2
    return f"{text[: longest - 1 - end]}…{text[len(text) - end :]}"
