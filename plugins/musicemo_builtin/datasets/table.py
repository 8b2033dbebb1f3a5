"""A CSV of tracks and a `.npy` file for each: anybody's own data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from musicemo.contracts import FEATURE_ROWS, Target, Track
from musicemo.errors import InputError, nearest
from musicemo_builtin.datasets._arrays import FUSED_ROWS, array_shape
from musicemo_builtin.datasets._problems import Problems
from musicemo_builtin.datasets._rows import parse_number, read_rows

__all__ = ["Table"]

_Part = Literal["train", "val", "test"]

#: What a part may be called in the table.
_PARTS: dict[str, _Part] = {"train": "train", "val": "val", "validation": "val", "test": "test"}


class Table:
    """Tracks from delimited text: a header, then one row a track.

    ::

        [dataset]
        type = "table"
        path = "songs.csv"
        regression = { valence = [1, 9], arousal = [1, 9] }
        classification = ["genre"]
        group = "artist"

    reads a file such as ::

        id,features,valence,arousal,genre,artist
        a1,features/a1.npy,6.5,3.25,Jazz,Nina
        a2,features/a2.npy,2.0,,Rock,The Posts

    The text is UTF-8; cells are separated by commas, semicolons or tabs, whichever the header has most of, and
    by tabs in a `.tsv` file. Feature files are relative to the table: `.npy`, floating-point, `[rows,
    frames]`, with the same number of rows in every track; they are given as paths, to be memory-mapped. An
    empty cell of a target, the group or the part means that it is unknown. Tracks keep the table's order.

    Everything is checked on construction, the arrays by their headers alone.

    Args:
        path: The table.
        regression: Target -> its lowest and highest possible value, in the table's own units.
        classification: Targets whose cells are class names: a list takes the classes that the table holds, in
            alphabetical order; a mapping from target to classes allows these only, in this order.
        columns: Target -> its column, where that has another name.
        id: Column of the track's id, unique in the table.
        file: Column of the feature file.
        group: Column of what must not stand on two sides of a grouped split: the artist, the album.
        part: Column of the official split: train, val (or validation), test.
        features: Rows to use: all, or of arrays with 140 rows the mel spectrogram (0-127), the chromagram
            (128-139) or both (fused).

    Raises:
        InputError: A column is missing, or a row or an array is not as described; up to twenty problems, each
            with file, line and column, in one error.
    """

    def __init__(
        self,
        *,
        path: Path,
        regression: dict[str, Annotated[list[float], Field(min_length=2, max_length=2)]] | None = None,
        classification: list[str] | dict[str, list[str]] | None = None,
        columns: dict[str, str] | None = None,
        id: str = "id",
        file: str = "features",
        group: str | None = None,
        part: str | None = None,
        features: Literal["all", "mel", "chroma", "fused"] = "all",
    ) -> None:
        self.path = path
        self._names = {"id": id, "file": file} | {
            role: name for role, name in (("group", group), ("part", part)) if name is not None
        }
        self._ranges = _ranges(regression or {})
        allowed: Mapping[str, list[str]] = (
            classification if isinstance(classification, dict) else {name: [] for name in classification or []}
        )
        _check_names(self._ranges, allowed, columns or {})
        self._columns = {name: (columns or {}).get(name, name) for name in (*self._ranges, *allowed)}
        self._classes = {name: list(classes) for name, classes in allowed.items()}
        self._problems = Problems()
        self._height: tuple[int, int] | None = None
        self._tracks = self._read(FUSED_ROWS if features != "all" else None)
        self._problems.raise_if_any()

        self.rows = (
            FEATURE_ROWS[features] if features != "all" else slice(0, self._height[0] if self._height else 0)
        )
        self.targets = [
            *(Target(name, "regression", range=bounds) for name, bounds in self._ranges.items()),
            *(
                Target(name, "classification", classes=tuple(classes) or self._found(name))
                for name, classes in self._classes.items()
            ),
        ]

    def tracks(self) -> Iterator[Track]:
        """Yield the tracks in the table's order."""
        yield from self._tracks

    def _read(self, height: int | None) -> list[Track]:
        (header_line, header), *rows = read_rows(self.path)
        for what, column in (*self._names.items(), *self._columns.items()):
            if header.count(column) != 1:
                found = f"{header.count(column)} columns" if column in header else "no column"
                self._problems.add(
                    f"{self.path}:{header_line}: {found} {column!r} (for {what}); "
                    f"the header has {', '.join(header)}{nearest(column, set(header) - {column})}"
                )
        if not rows:
            self._problems.add(f"{self.path}: has a header and no track")
        self._problems.raise_if_any()

        tracks: list[Track] = []
        lines: dict[str, int] = {}
        for line, cells in rows:
            where = f"{self.path}:{line}"
            if len(cells) != len(header):
                self._problems.add(f"{where}: malformed row, expected {len(header)} cells, got {len(cells)}")
                continue
            row = dict(zip(header, cells, strict=True))
            name = row[self._names["id"]]
            if not name:
                self._problems.add(f"{where}: column {self._names['id']!r} is empty, every track needs an id")
            elif name in lines:
                self._problems.add(f"{where}: track {name!r} is in line {lines[name]} already")
            lines.setdefault(name, line)
            tracks.append(
                Track(
                    name,
                    self._array(where, row[self._names["file"]], height, line),
                    {
                        target: self._target(where, target, row[column])
                        for target, column in self._columns.items()
                    },
                    group=(row[self._names["group"]] or None) if "group" in self._names else None,
                    part=self._part(where, row) if "part" in self._names else None,
                )
            )
        return tracks

    def _array(self, where: str, cell: str, height: int | None, line: int) -> Path:
        """Check the header of a feature file; the first good one decides how many rows the others have."""
        path = self.path.parent / cell
        column = self._names["file"]
        if not cell:
            self._problems.add(f"{where}: column {column!r} is empty, every track needs a feature file")
            return path
        try:
            shape = array_shape(path, height)
        except InputError as error:
            self._problems.add(f"{where}: column {column!r}: {error}")
            return path
        if self._height is None:
            self._height = shape[0], line
        elif shape[0] != self._height[0]:
            self._problems.add(
                f"{where}: column {column!r}: {path}: has {shape[0]} rows, "
                f"the array of line {self._height[1]} has {self._height[0]}"
            )
        return path

    def _target(self, where: str, target: str, cell: str) -> float | str | None:
        if not cell:
            return None
        if target in self._ranges:
            try:
                return parse_number(cell, *self._ranges[target])
            except ValueError as error:
                self._problems.add(f"{where}: column {self._columns[target]!r}: {error}")
                return None
        allowed = self._classes[target]
        if allowed and cell not in allowed:
            self._problems.add(
                f"{where}: column {self._columns[target]!r}: {cell!r} is no class of {target}, "
                f"which has {', '.join(allowed)}{nearest(cell, allowed)}"
            )
        return cell

    def _part(self, where: str, row: Mapping[str, str]) -> _Part | None:
        cell = row[self._names["part"]]
        if cell and cell not in _PARTS:
            self._problems.add(
                f"{where}: column {self._names['part']!r}: {cell!r} is no part; "
                f"parts are {', '.join(_PARTS)}{nearest(cell, _PARTS)}"
            )
        return _PARTS.get(cell)

    def _found(self, target: str) -> tuple[str, ...]:
        return tuple(sorted({str(track.targets[target]) for track in self._tracks if track.targets[target]}))


def _ranges(regression: Mapping[str, list[float]]) -> dict[str, tuple[float, float]]:
    wrong = [
        f"table: regression.{name} = [{low:g}, {high:g}]: the lowest value is to be below the highest"
        for name, (low, high) in regression.items()
        if not low < high
    ]
    if wrong:
        raise InputError(*wrong)
    return {name: (float(low), float(high)) for name, (low, high) in regression.items()}


def _check_names(
    regression: Mapping[str, object], classification: Mapping[str, object], columns: Mapping[str, str]
) -> None:
    names = [*regression, *classification]
    wrong = [
        f"table: {name!r} is under both regression and classification"
        for name in regression.keys() & classification
    ]
    wrong += [
        f"table: columns.{name}: there is no target {name!r}{nearest(name, names)}"
        for name in columns.keys() - set(names)
    ]
    if not names:
        wrong.append("table: name at least one target, under regression or classification")
    if wrong:
        raise InputError(*sorted(wrong))
