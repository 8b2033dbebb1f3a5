"""Results as plain data: texts, tables and charts, which `terminal`, `html`, `markdown` and `latex` render."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from musicemo.reporting.charts import Chart, Excerpt, Points
from musicemo.reporting.words import number

__all__ = [
    "Block",
    "Cell",
    "Change",
    "Charts",
    "Code",
    "Column",
    "Facts",
    "Interval",
    "Label",
    "Notice",
    "Number",
    "Page",
    "Section",
    "Table",
    "Tables",
    "Text",
    "as_cell",
]


_WRAPPED = 12
"""Least width of a column of text on a page, in characters."""

_PLAYER = 30
"""Width of a player, in characters."""

_SMALL = 0.84
"""Size of small text."""


@dataclass(frozen=True)
class Number:
    """A table's cell that holds a number: its value, its deviation and its interval stay separate."""

    value: float | None
    low: float | None = None
    high: float | None = None
    #: Standard deviation; None if there is none to show.
    deviation: float | None = None
    #: Format of the value and the deviation.
    format: str = ".3f"
    #: Format of the interval's ends.
    ends: str = ".2f"
    #: Text behind the value, such as `` %``.
    unit: str = ""
    #: Smaller text behind the value.
    note: str = ""
    strong: bool = False

    @property
    def text(self) -> str:
        """The value, with its deviation if it has one; ``n/a`` if it is not defined."""
        text = number(self.value, self.format)
        if self.deviation is not None:
            text += f" ± {number(self.deviation, self.format.lstrip('+'))}"
        return text if text == "n/a" else text + self.unit

    @property
    def interval(self) -> str:
        """The interval in brackets, empty if it is not defined."""
        ends = [number(end, self.ends) for end in (self.low, self.high)]
        return "" if "n/a" in ends else f"[{', '.join(ends)}]"

    @classmethod
    def share(
        cls, value: float | None, low: float | None = None, high: float | None = None, *, strong: bool = False
    ) -> Number:
        """Return a share in percent."""
        value, low, high = (None if end is None else 100 * end for end in (value, low, high))
        return cls(value, low, high, format=".0f", ends=".0f", unit=" %", strong=strong)


@dataclass(frozen=True)
class Change:
    """A table's cell that holds a number before and after something."""

    before: float | None
    after: float | None

    note: str = ""
    interval: str = ""
    strong: bool = False

    @property
    def text(self) -> str:
        """Both numbers."""
        return f"{number(self.before)} → {number(self.after)}"


@dataclass(frozen=True)
class Label:
    """A table's cell that holds text."""

    text: str
    strong: bool = False
    #: File that a page links to.
    link: Path | None = None
    #: Ids of the tracks that it names.
    tracks: Sequence[str] = ()
    #: Track -> audio that a page plays.
    players: Mapping[str, Excerpt] = field(default_factory=dict)

    note: str = ""
    interval: str = ""


@dataclass(frozen=True)
class Interval:
    """A table's cell that holds an interval without a value."""

    low: float | None
    high: float | None

    note: str = ""
    interval: str = ""
    strong: bool = False

    @property
    def text(self) -> str:
        """The interval in brackets."""
        return Number(None, self.low, self.high).interval or "n/a"


Cell = str | Number | Change | Interval | Label


def as_cell(cell: Cell) -> Number | Change | Interval | Label:
    """Return a cell that is a string as a label, and any other as it is."""
    return Label(cell) if isinstance(cell, str) else cell


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str
    #: Bold text before it.
    lead: str = ""


@dataclass(frozen=True)
class Notice:
    """A paragraph that must not be overlooked."""

    text: str
    #: ``note``, ``warning`` or ``error``.
    kind: str = "note"
    #: Shown as it is, line by line.
    detail: str = ""


@dataclass(frozen=True)
class Facts:
    """Names and values."""

    rows: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Column:
    """A column's heading, and how much of the column a terminal shows."""

    title: str
    #: A shorter title for the terminal.
    short: str = ""
    #: Whether it holds text, which is aligned to the left.
    text: bool = False
    #: Whether the terminal, which is narrow, leaves out the intervals.
    brief: bool = False
    #: Whether the terminal leaves out the column.
    detail: bool = False
    #: Whether the terminal breaks its lines between words.
    fold: bool = False


@dataclass(frozen=True)
class Table:
    """Rows under named columns; the first column names the row.

    A column that is a string holds numbers, the first one text. A first cell that is empty repeats the one above.
    """

    columns: Sequence[str | Column]
    rows: Sequence[Sequence[Cell]]
    title: str = ""
    note: str = ""
    #: Whether the terminal leaves out the table.
    detail: bool = False
    #: Number of columns beside the first that the terminal shows side by side; 0 means all.
    wrap: int = 0

    @property
    def headings(self) -> list[Column]:
        """The columns, strings as columns of numbers."""
        columns = [Column(one) if isinstance(one, str) else one for one in self.columns]
        return [replace(columns[0], text=True), *columns[1:]]

    @property
    def width(self) -> float:
        """Its width on a page, about, in characters."""
        return sum(
            2 + max([_longest_word(column.title), *(_width(row[place], column) for row in self.rows)])
            for place, column in enumerate(self.headings)
        )

    def heading(self, place: int, *, narrow: bool = False) -> str:
        """Return a column's title, with a mark if its numbers have intervals."""
        column = self.headings[place]
        cells = [row[place] for row in self.rows]
        bracketed = any(isinstance(cell, Number) and cell.interval for cell in cells)
        title = (column.short if narrow else "") or column.title
        return f"{title} [interval]" if bracketed and not (narrow and column.brief) else title


def _longest_word(text: str) -> int:
    return max(map(len, text.split()), default=0)


def _width(cell: Cell, column: Column) -> float:
    """Return a cell's width on a page, about, in characters: cells of text break between words."""
    cell = as_cell(cell)
    text = max(_WRAPPED, _longest_word(cell.text)) if column.text else len(cell.text)
    player = _PLAYER if isinstance(cell, Label) and cell.players else 0
    return max(min(text, len(cell.text)), len(cell.interval) * _SMALL, len(cell.note) * _SMALL, player)


@dataclass(frozen=True)
class Charts:
    """Small charts beside one another."""

    charts: Sequence[Chart]
    title: str = ""
    note: str = ""
    #: True to show at most two charts side by side on a wide page.
    large: bool = False

    @property
    def plays(self) -> bool:
        """Whether there are points that can be played."""
        return any(chart.excerpts and not chart.track for chart in self.charts)

    @property
    def playable(self) -> str:
        """Noun phrase for the points that play their tracks: ``a point``, ``a ring``, or their number."""
        points = [
            mark for chart in self.charts for mark in chart.marks if isinstance(mark, Points) and mark.tracks
        ]
        noun = "ring" if all(mark.ring for mark in points) else "point"
        tracks = {track for mark in points for track in mark.tracks}
        played = {track for chart in self.charts for track in chart.excerpts}
        if len(played) == len(tracks):
            return f"a {noun}"
        return f"one of the {len(played)} outlined {noun}s ({len(tracks)} tracks are drawn)"


@dataclass(frozen=True)
class Code:
    """Text to be copied, folded."""

    title: str
    text: str


@dataclass(frozen=True)
class Tables:
    """Small tables beside one another."""

    tables: Sequence[Table]


Block = Text | Notice | Facts | Table | Tables | Charts | Code


@dataclass(frozen=True)
class Section:
    """A part of a page with a heading."""

    title: str
    blocks: Sequence[Block]
    #: Whether a page shows it only if the reader opens it.
    folded: bool = False

    @property
    def slug(self) -> str:
        """Its name in links."""
        return re.sub(r"[^a-z0-9]+", "-", self.title.lower()).strip("-")


@dataclass(frozen=True)
class Page:
    """A page as a whole."""

    #: The kind of page: a run, a comparison.
    kind: str
    title: str
    description: str
    #: done, running, failed, interrupted; empty for several experiments.
    status: str
    #: Names and values at the top.
    facts: Sequence[tuple[str, str]]
    notices: Sequence[Notice]
    sections: Sequence[Section]
    footer: Sequence[str] = field(default_factory=tuple)
    #: Track -> its artist and classes.
    about: Mapping[str, str] = field(default_factory=dict)

    @property
    def tracks(self) -> list[str]:
        """The ids of the tracks that its tables and charts name, each once, in their order."""
        return list(dict.fromkeys(track for one in self._audible() for track in one.tracks))

    @property
    def named(self) -> list[str]:
        """Those of `tracks` that tables name or charts show over time, in their order."""
        tracks = (
            one.tracks if isinstance(one, Label) else filter(None, [one.track]) for one in self._audible()
        )
        return list(dict.fromkeys(track for some in tracks for track in some))

    @property
    def spans(self) -> dict[str, tuple[float, float]]:
        """Track -> the time in seconds that the charts show, of the tracks that they show over time."""
        spans: dict[str, tuple[float, float]] = {}
        for _, chart in self.charts():
            if chart.span:
                low, high = spans.get(chart.track, chart.span)
                spans[chart.track] = min(low, chart.span[0]), max(high, chart.span[1])
        return spans

    @property
    def plays(self) -> bool:
        """Whether it has players."""
        return any(one.players if isinstance(one, Label) else one.excerpts for one in self._audible())

    def with_players(self, excerpts: Mapping[str, Excerpt]) -> Page:
        """Return the page with players beside the tracks that its tables and charts name.

        Args:
            excerpts: track -> its audio; a track that is absent gets no player.
        """
        captioned = {track: replace(one, caption=self.caption(track)) for track, one in excerpts.items()}

        def named(tracks: Sequence[str]) -> dict[str, Excerpt]:
            return {track: captioned[track] for track in tracks if track in captioned}

        return self._changed(
            lambda label: replace(label, players=named(label.tracks)),
            lambda chart: replace(chart, excerpts=named(chart.tracks)),
        )

    def with_descriptions(self, about: Mapping[str, str]) -> Page:
        """Return the page with artists and classes beside the tracks that its tables and charts name.

        Args:
            about: track -> its artist and classes; a track that is absent has no description.
        """
        page = replace(self, about=about)

        def in_label(label: Label) -> Label:
            if len(label.tracks) != 1 or not about.get(label.tracks[0]):
                return label
            return replace(label, note=" · ".join(filter(None, [about[label.tracks[0]], label.note])))

        def in_points(points: Points) -> Points:
            if not (points.tracks and points.titles):
                return points
            pairs = zip(points.tracks, points.titles, strict=True)
            return replace(
                points, titles=[page.caption(track) + title.removeprefix(track) for track, title in pairs]
            )

        def in_chart(chart: Chart) -> Chart:
            marks = [in_points(mark) if isinstance(mark, Points) else mark for mark in chart.marks]
            notes = [page.caption(note) if note == chart.track else note for note in chart.notes]
            return replace(chart, marks=marks, notes=notes)

        return page._changed(in_label, in_chart)

    def caption(self, track: str) -> str:
        """Return a track's id with its artist and classes: ``song (Muse, rock)``."""
        return f"{track} ({self.about[track]})" if self.about.get(track) else track

    def _changed(self, label: Callable[[Label], Label], chart: Callable[[Chart], Chart]) -> Page:
        """Return the page with other labels in its tables, and other charts."""

        def in_cell(cell: Cell) -> Cell:
            return label(cell) if isinstance(cell, Label) else cell

        def in_table(table: Table) -> Table:
            return replace(table, rows=[[in_cell(cell) for cell in row] for row in table.rows])

        def in_block(block: Block) -> Block:
            if isinstance(block, Tables):
                return Tables([in_table(table) for table in block.tables])
            if isinstance(block, Charts):
                return replace(block, charts=[chart(one) for one in block.charts])
            return in_table(block) if isinstance(block, Table) else block

        sections = [replace(one, blocks=[in_block(block) for block in one.blocks]) for one in self.sections]
        return replace(self, sections=sections)

    def _audible(self) -> Iterable[Label | Chart]:
        """Yield what names tracks."""
        for section in self.sections:
            for block in section.blocks:
                if isinstance(block, Charts):
                    yield from block.charts
                tables = block.tables if isinstance(block, Tables) else [block]
                for table in tables:
                    if isinstance(table, Table):
                        yield from (cell for row in table.rows for cell in row if isinstance(cell, Label))

    def charts(self) -> Iterable[tuple[str, Chart]]:
        """Yield every chart, with the name that a file of it has."""
        for section in self.sections:
            for block in section.blocks:
                if isinstance(block, Charts):
                    for chart in block.charts:
                        yield f"{section.slug}-{chart.name or chart.title}", chart
