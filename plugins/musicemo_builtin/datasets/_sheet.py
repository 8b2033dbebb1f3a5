"""Delimited text with a header, whose every problem names file, line and column."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from musicemo.errors import nearest
from musicemo_builtin.datasets._problems import Problems
from musicemo_builtin.datasets._rows import parse_number, read_rows

__all__ = ["PARTS", "Part", "Row", "Sheet"]

Part = Literal["train", "val", "test"]

#: What a part may be called.
PARTS: dict[str, Part] = {"train": "train", "val": "val", "validation": "val", "test": "test"}


@dataclass(frozen=True, slots=True)
class Row:
    """One row; a cell that is empty is None, one that is wrong is noted as a problem and None."""

    #: File and line.
    where: str
    cells: Mapping[str, str]
    problems: Problems

    def text(self, column: str) -> str | None:
        """Return a cell."""
        return self.cells[column] or None

    def number(self, column: str, low: float, high: float) -> float | None:
        """Return a cell's number, which is to lie in [low, high]."""
        if not self.cells[column]:
            return None
        try:
            return parse_number(self.cells[column], low, high)
        except ValueError as error:
            self.blame(column, str(error))
            return None

    def one_of(self, column: str, choices: Iterable[str], otherwise: str) -> str | None:
        """Return a cell that is one of `choices`; `otherwise` is what is said of another."""
        cell, allowed = self.text(column), list(choices)
        if cell is not None and cell not in allowed:
            self.blame(column, f"{cell!r} {otherwise} {', '.join(allowed)}{nearest(cell, allowed)}")
            return None
        return cell

    def part(self, column: str, names: Mapping[str, Part] = PARTS) -> Part | None:
        """Return the part that a cell names."""
        cell = self.one_of(column, names, "is no part; parts are")
        return names[cell] if cell is not None else None

    def blame(self, column: str, message: str) -> None:
        """Note a problem with a cell."""
        self.problems.add(f"{self.where}: column {column!r}: {message}")


class Sheet:
    """A table in a file.

    Args:
        path: UTF-8 text; the first row that is not blank is the header.
        needs: What is looked for -> the column that holds it; other columns are free.
        problems: Where problems go; those of the header are raised at once.
        delimiter: What stands between cells; None finds out.
        strict: Whether quotes in odd places are errors, see `read_rows`.

    Raises:
        InputError: The file cannot be read, or lacks a column or any row.
    """

    def __init__(
        self,
        path: Path,
        needs: Mapping[str, str],
        problems: Problems,
        delimiter: str | None = None,
        *,
        strict: bool = True,
    ) -> None:
        (header_line, header), *rows = read_rows(path, delimiter, strict=strict)
        for what, column in needs.items():
            if header.count(column) != 1:
                found = f"{header.count(column)} columns" if column in header else "no column"
                problems.add(
                    f"{path}:{header_line}: {found} {column!r} (for {what}); "
                    f"the header has {', '.join(header)}{nearest(column, set(header) - {column})}"
                )
        if not rows:
            problems.add(f"{path}: has a header and no track")
        problems.raise_if_any()
        self.path, self.header = path, header
        self._rows, self._problems = rows, problems

    def __iter__(self) -> Iterator[Row]:
        """Yield the rows that have a cell for each column; the others are noted."""
        for line, cells in self._rows:
            where = f"{self.path}:{line}"
            if len(cells) == len(self.header):
                yield Row(where, dict(zip(self.header, cells, strict=True)), self._problems)
            else:
                self._problems.add(
                    f"{where}: malformed row, expected {len(self.header)} cells, got {len(cells)}"
                )

    def tracks(self, column: str) -> Iterator[tuple[str, Row]]:
        """Yield the rows with the track's id, which is to be unique."""
        places: dict[str, str] = {}
        for row in self:
            name = row.cells[column]
            if not name:
                self._problems.add(f"{row.where}: column {column!r} is empty, every track needs an id")
            elif name in places:
                line = places[name].rpartition(":")[2]
                self._problems.add(f"{row.where}: track {name!r} is in line {line} already")
            places.setdefault(name, row.where)
            yield name, row
