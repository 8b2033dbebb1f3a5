"""Reader of tables with a header. Each problem names file, line and column."""

from __future__ import annotations

import bisect
import logging
import operator
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal
from unicodedata import category

from musicemo.errors import nearest
from musicemo_builtin.datasets._cells import is_missing, parse_number
from musicemo_builtin.datasets._problems import Problems
from musicemo_builtin.datasets._rows import read_rows

__all__ = ["PARTS", "Part", "Row", "Sheet", "differing_rows", "repeated_rows", "shared_cells"]

Part = Literal["train", "val", "test"]

#: What a part may be called.
PARTS: dict[str, Part] = {"train": "train", "val": "val", "validation": "val", "test": "test"}

#: Number of a header's names in a message.
_NAMED = 30
_EXAMPLES = 3

#: Control characters of Latin-1.
_C1 = re.compile("[\x80-\x9f]")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Row:
    """One row. A missing cell is None. An invalid cell is None and added to the problems.

    Attributes:
        where: File and line.
        cells: Column -> cell.
        problems: Collection of mistakes, and of cells that mark a missing value.
        missing: Cells that mark a missing value; None for the common markers.
        decimal: The decimal separator; None for a point that no parameter changes.
    """

    where: str
    cells: Mapping[str, str]
    problems: Problems
    missing: Collection[str] | None = None
    decimal: str | None = None

    @property
    def line(self) -> str:
        """The line number."""
        return self.where.rpartition(":")[2]

    def text(self, column: str) -> str | None:
        """Return a cell.

        Characters that were written in Windows-1252 and read as Latin-1, which makes control characters of quotation
        marks and dashes, are mended.
        """
        cell = self.cells[column]
        if not is_missing(cell, self.missing):
            return _C1.sub(lambda char: char[0].encode("latin-1").decode("cp1252", "replace"), cell)
        if cell and self.missing is None:
            source = self.where.rpartition(":")[0]
            self.problems.note_missing(source, f"line {self.line}", column, cell)
        return None

    def number(self, column: str, low: float, high: float) -> float | None:
        """Return a cell's number, which must lie in [low, high]."""
        if (cell := self.text(column)) is None:
            return None
        try:
            return parse_number(cell, low, high, self.decimal or ".")
        except ValueError as error:
            hint = '. Set decimal = "," to read it' if self.decimal and "decimal comma" in str(error) else ""
            self.blame(column, f"{error}{hint}")
            return None

    def one_of(self, column: str, choices: Iterable[str], otherwise: str) -> str | None:
        """Return a cell that is one of `choices`; `otherwise` is the message for other values."""
        cell, allowed = self.cells[column], list(choices)
        if cell in allowed:
            return cell
        if (text := self.text(column)) is not None:
            self.blame(column, f"{text!r} {otherwise} {', '.join(allowed)}{nearest(text, allowed)}")
        return None

    def part(self, column: str, names: Mapping[str, Part] = PARTS) -> Part | None:
        """Return the set of the official split that a cell names."""
        cell = self.one_of(column, names, "is not a set of a split; allowed:")
        return names[cell] if cell is not None else None

    def blame(self, column: str, message: str, kind: str | None = None) -> None:
        """Add a problem with a cell; see `Problems.add`."""
        self.problems.add(f"{self.where}: column {column!r}: {message}", kind, column)


class Sheet:
    """A table in a file.

    Args:
        path: A table; the first row that is not blank is the header.
        needs: Purpose -> required column; other columns are allowed.
        problems: Collection of problems; those of the header are raised immediately.
        delimiter: Delimiter of the cells; by default it is detected.
        strict: Whether quotes in unusual places are errors; see `read_rows`.
        missing: Cells that mark a missing value; see `is_missing`.
        decimal: The decimal separator; see `Row`.
        encoding: Encoding of text; see `read_rows`.
        sheet: Sheet of a workbook; see `read_rows`.

    Raises:
        InputError: The file cannot be read, lacks a column, or has no rows.
    """

    def __init__(
        self,
        path: Path,
        needs: Mapping[str, str],
        problems: Problems,
        delimiter: str | None = None,
        *,
        strict: bool = True,
        missing: Collection[str] | None = None,
        decimal: str | None = None,
        encoding: str | None = None,
        sheet: str | None = None,
    ) -> None:
        (header_line, header), *rows = read_rows(path, delimiter, strict=strict, encoding=encoding, sheet=sheet)
        for what, column in needs.items():
            if header.count(column) != 1:
                count = f"{header.count(column)} columns" if column in header else "no column"
                problems.add(
                    f"{path}:{header_line}: {count} {column!r} (for {what}); "
                    f"the header has {_listed(header)}{nearest(column, set(header) - {column})}"
                )
        if not rows:
            problems.add(f"{path}: has a header but no rows")
        problems.raise_if_any()
        self.path, self.header = path, header
        self._rows, self._problems = rows, problems
        self._missing, self._decimal = missing, decimal

    def __iter__(self) -> Iterator[Row]:
        """Yield the rows that have a cell for each column; other rows are added to the problems."""
        for line, cells in self._rows:
            if len(cells) == len(self.header):
                yield self._row(line, cells)
            else:
                self._problems.add(
                    f"{self.path}:{line}: malformed row, expected {len(self.header)} cells, got {len(cells)}"
                )

    def _row(self, line: int, cells: Sequence[str]) -> Row:
        row = dict(zip(self.header, cells, strict=True))
        return Row(f"{self.path}:{line}", row, self._problems, self._missing, self._decimal)

    def tracks(self, column: str) -> Iterator[tuple[str, Row]]:
        """Yield the rows with the track's id, which must be unique."""
        #: Track -> line. The rows themselves would take several times the memory.
        places: dict[str, int] = {}
        repeated: list[str] = []
        for row in self:
            name = row.cells[column]
            if not name:
                self._problems.add(f"{row.where}: column {column!r} is empty, but every track needs an id")
            elif name in places:
                place = bisect.bisect_left(self._rows, places[name], key=operator.itemgetter(0))
                earlier = self._row(*self._rows[place])
                if row.cells == earlier.cells:
                    repeated.append(f"line {row.line} like line {earlier.line}")
                    continue
                self._problems.add(f"{row.where}: {differing_rows(name, row, earlier)}", "repeated id")
            elif not name.isprintable() and (strange := [char for char in name if category(char) == "Cc"]):
                row.blame(column, f"{name!r} contains the control character {strange[0]!r}")
            places.setdefault(name, int(row.line))
            yield name, row
        if repeated:
            _log.warning(f"{self.path}: {repeated_rows(repeated)}")

    def listeners(self, column: str, listener: str | None) -> dict[str, list[Row]]:
        """Return track -> the rows of its listeners, in a table with a row for each listener of a track.

        Args:
            column: Column of the track's id.
            listener: Column of the listener, who has one row for each track; None if every row is another listener.
        """
        tracks: dict[str, list[Row]] = {}
        rows: dict[tuple[str, str], Row] = {}
        repeated: list[str] = []
        for row in self:
            name, who = row.cells[column], "" if listener is None else row.cells[listener]
            if empty := next((key for key in (column, listener) if key and not row.cells[key]), None):
                row.blame(
                    empty, f"is empty, but every row needs a {'track' if empty == column else 'listener'}"
                )
                continue
            earlier = row if listener is None else rows.setdefault((name, who), row)
            if earlier is row:
                tracks.setdefault(name, []).append(row)
            elif row.cells == earlier.cells:
                repeated.append(f"line {row.line} like line {earlier.line}")
            else:
                self._problems.add(
                    f"{row.where}: listener {who!r}: {differing_rows(name, row, earlier)}. Keep one row for each "
                    "listener and track",
                    "repeated listener",
                )
        if repeated:
            _log.warning(f"{self.path}: {repeated_rows(repeated)}")
        return tracks


def shared_cells(name: str, rows: Sequence[Row], columns: Iterable[str]) -> Row:
    """Return a row with the cells that all rows of a track have in common; different cells are problems.

    Args:
        name: Id of the track.
        rows: Its rows.
        columns: Columns with the same cell in every row, or a missing one.
    """
    first, *others = rows
    cells = dict(first.cells)
    places = dict.fromkeys(cells, first)
    for row in others:
        for column in columns:
            cell = row.cells[column]
            if cell == cells[column] or is_missing(cell, row.missing):
                continue
            if is_missing(cells[column], row.missing):
                cells[column], places[column] = cell, row
            else:
                row.blame(
                    column,
                    f"track {name!r} has {cell!r} here and {cells[column]!r} in line {places[column].line}, but a "
                    "track has the same in all rows of its listeners",
                    "differs",
                )
    return replace(first, cells=cells)


def repeated_rows(repeated: Sequence[str]) -> str:
    """Return a note about ignored rows, each described as ``line 7 like line 3``."""
    more = f" and {len(repeated) - _EXAMPLES} more" if len(repeated) > _EXAMPLES else ""
    subject = "1 row is" if len(repeated) == 1 else f"{len(repeated)} rows are"
    return f"{subject} ignored because of an identical earlier row ({', '.join(repeated[:_EXAMPLES])}{more})"


def differing_rows(name: str, row: Row, earlier: Row) -> str:
    """Return the problem of two different rows of one id."""
    column = next(column for column, cell in row.cells.items() if cell != earlier.cells[column])
    return (
        f"track {name!r} is already in line {earlier.line}, with {earlier.cells[column]!r} instead of "
        f"{row.cells[column]!r} in column {column!r}"
    )


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
