"""A CSV of tracks with an audio file or a `.npy` file for each: the user's own data."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from musicemo.contracts import FEATURE_ROWS, Proposal, Target, Track, check_orientation
from musicemo.errors import InputError
from musicemo_builtin.datasets._arrays import FUSED_ROWS, array_shape
from musicemo_builtin.datasets._cells import find_similar, is_missing
from musicemo_builtin.datasets._problems import Problems
from musicemo_builtin.datasets._proposal import propose_table
from musicemo_builtin.datasets._recordings import Duration, Offset, OnError, Recordings, Sync
from musicemo_builtin.datasets._sheet import Row, Sheet
from musicemo_builtin.datasets._targets import check_names, check_ranges

__all__ = ["Table"]

_log = logging.getLogger(__name__)


class Table:
    """Tracks from delimited text with a header and one row per track.

    ::

        [dataset]
        type = "table"
        path = "songs.csv"
        audio = "file"
        regression = { valence = [1, 9], arousal = [1, 9] }
        classification = ["genre"]
        group = "artist"

    reads a file such as ::

        id,file,valence,arousal,genre,artist
        a1,audio/a1.mp3,6.5,3.25,Jazz,Nina
        a2,audio/a2.flac,2.0,,Rock,The Posts

    The text is UTF-8, or UTF-16 with a byte order mark. The delimiter is the comma, semicolon or tab that
    splits the rows into as many cells as the header; a first line such as ``sep=;`` names it. An empty cell of
    a target, the group or the part is a missing value, and so is, with a warning, a common marker such as
    ``nan`` or ``NA``. Tracks keep the order of the table.

    With `audio`, a column names audio files, whose features are computed when the tracks are first needed.
    Without it, the column `file` names feature files: `.npy`, floating point, `[rows, frames]`, with the same
    number of rows in every track. They are memory-mapped.

    Everything is checked on construction. Only the headers of arrays are read, and audio files must exist.

    Args:
        path: The table.
        regression: Target -> lowest and highest possible value, in the table's units.
        classification: Targets whose cells are class names: as a list, with all classes that occur, in
            alphabetical order; or target -> allowed classes, in this order.
        columns: Target -> column, if the column has another name.
        id: Column of the track's id, unique in the table.
        file: Column of the feature file, without `audio`.
        audio: Column of the audio file.
        root: Folder to which file names are relative; by default the table's folder.
        group: Column of the group that a grouped split keeps in one set: the artist, the album.
        part: Column of the official split: train, val (or validation), test.
        missing: Cells that mark a missing value in addition to empty cells, exactly as written; by default
            common markers such as ``NA``, ``nan``, ``None``, ``null`` and ``-``, with a warning. With an empty
            list, ``None`` is a class.
        decimal: Decimal separator of the ratings, a point or a comma.
        rows: Number of rows of each feature array; by default that of most arrays. Required if all arrays have
            140 columns and more rows, because they appear to be transposed.
        features: Feature rows: all, or of arrays with 140 rows the mel spectrogram (0-127), the chromagram
            (128-139) or both (fused); audio has 140.
        sync: With `audio`, feature columns: one per beat or one per frame.
        offset: With `audio`, start of the analyzed excerpt, in seconds.
        duration: With `audio`, length of the excerpt in seconds; by default the rest of the song.
        cache: With `audio`, folder of the features; by default `$MUSICEMO_CACHE`, or `musicemo` in the user's cache
            folder.
        on_error: With `audio`, how to treat songs that are missing or cannot be analyzed: ``raise`` one error
            that lists all, or ``skip`` them with a warning.

    Raises:
        InputError: A column is missing, or a row or a file is not as described; up to twenty problems, each
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
        audio: str | None = None,
        root: Path | None = None,
        group: str | None = None,
        part: str | None = None,
        missing: list[str] | None = None,
        decimal: Literal[".", ","] = ".",
        rows: Annotated[int, Field(ge=1)] | None = None,
        features: Literal["all", "mel", "chroma", "fused"] = "all",
        sync: Sync = "beat",
        offset: Offset = 0.0,
        duration: Duration = None,
        cache: Path | None = None,
        on_error: OnError = "raise",
    ) -> None:
        self.path = path
        self._root = root or path.parent
        self._names = {"id": id, "file": file} if audio is None else {"id": id, "audio": audio}
        self._names |= {role: name for role, name in (("group", group), ("part", part)) if name is not None}
        self._ranges = check_ranges(regression or {})
        allowed: Mapping[str, list[str]] = (
            classification if isinstance(classification, dict) else {name: [] for name in classification or []}
        )
        check_names("table", self._ranges, allowed, columns or {})
        self._columns = {name: (columns or {}).get(name, name) for name in (*self._ranges, *allowed)}
        self._classes = {name: list(classes) for name, classes in allowed.items()}
        self._missing, self._decimal = missing, decimal
        self._problems = Problems(hint="list the cells that mark a missing value with missing = [...]")
        self._arrays: list[tuple[Row, Path, tuple[int, int]]] = []
        self._recordings: Recordings | None = None
        if audio is not None:
            if rows is not None:
                raise InputError(
                    "table: rows can be set only for feature files (file), not for audio files (audio)"
                )
            used = "fused" if features == "all" else features
            self._recordings = Recordings("table", path, used, sync, offset, duration, cache, on_error)
        elif (sync, offset, duration, cache, on_error) != ("beat", 0.0, None, None, "raise"):
            raise InputError(
                "table: sync, offset, duration, cache and on_error require audio files. Set the column of "
                "audio files with audio"
            )
        height = FUSED_ROWS if features != "all" else rows
        if rows not in (None, height):
            raise InputError(
                f'table: features = "{features}" requires arrays of {FUSED_ROWS} rows, but rows is {rows}'
            )
        self._tracks = self._read(height)
        if height is None:
            self._check_orientation()
        if self._recordings:
            self._recordings.check(self._problems)
        self._problems.raise_if_any()
        self._warn_of_similar_labels()

        self.sync = self._recordings.sync if self._recordings else None
        self.recipe = self._recordings.recipe if self._recordings else None
        self.rows = (
            self._recordings.rows
            if self._recordings
            else FEATURE_ROWS[features]
            if features != "all"
            else slice(0, rows or (self._arrays[0][2][0] if self._arrays else 1))
        )
        self.targets = [
            *(Target(name, "regression", range=bounds) for name, bounds in self._ranges.items()),
            *(
                Target(name, "classification", classes=tuple(classes) or self._found(name))
                for name, classes in self._classes.items()
            ),
        ]

    @classmethod
    def propose(cls, path: Path) -> Proposal | None:
        """Return a proposal for a user's table or folder of songs."""
        return propose_table(path)

    def tracks(self) -> Iterator[Track]:
        """Yield the tracks in the order of the table. Analyze audio that is not in the cache."""
        yield from self._recordings.tracks() if self._recordings else self._tracks

    def _read(self, height: int | None) -> list[Track]:
        tracks: list[Track] = []
        needs = {**self._names, **self._columns}
        sheet = Sheet(self.path, needs, self._problems, missing=self._missing, decimal=self._decimal)
        for name, row in sheet.tracks(self._names["id"]):
            targets = {target: self._target(row, target, column) for target, column in self._columns.items()}
            path = self._file(row, height)
            if path is None:
                continue
            track = Track(
                name,
                path,
                targets,
                group=row.text(self._names["group"]) if "group" in self._names else None,
                part=row.part(self._names["part"]) if "part" in self._names else None,
            )
            tracks.append(track)
            if self._recordings:
                self._recordings.add(f"{row.where}: column {self._names['audio']!r}", track)
        return tracks

    def _file(self, row: Row, height: int | None) -> Path | None:
        """Return an audio file, or a feature file whose header was read; None if it is missing."""
        column = self._names["audio" if self._recordings else "file"]
        cell = row.cells[column]
        path = self._root / cell
        if is_missing(cell, self._missing) and not path.is_file():
            if self._recordings:
                self._recordings.leave_out(
                    f"{row.where}: column {column!r}: is empty, but every track needs an audio file"
                )
            else:
                row.blame(column, "is empty, but every track needs a feature file", "empty")
            return None
        if not self._recordings:
            try:
                self._arrays.append((row, path, array_shape(path, height)))
            except InputError as error:
                row.blame(column, str(error), str(error).replace(str(path), "#"))
                return None
        return path

    def _check_orientation(self) -> None:
        """Note arrays that differ in height from most, and warn of arrays that seem to be transposed."""
        shapes = [shape for _, _, shape in self._arrays]
        turned = check_orientation(shapes)
        height, _ = Counter(rows for rows, _ in shapes).most_common(1)[0] if shapes else (0, 0)
        first = next((row.where.rpartition(":")[2] for row, _, (rows, _) in self._arrays if rows == height), "")
        for row, path, (rows, _) in self._arrays:
            if rows != height:
                reason = f"; {turned.message}" if turned else ""
                message = f"{path}: has {rows} rows, but the array of line {first} has {height}{reason}"
                row.blame(self._names["file"], message, "height")
        if turned and len({rows for rows, _ in shapes}) == 1:
            column = self._names["file"]
            message = (
                f"{self.path}: column {column!r}: {turned.message}. Set rows = {height} to use them unchanged"
            )
            if turned.certain:
                self._problems.add(message)
            else:
                _log.warning(message)

    def _warn_of_similar_labels(self) -> None:
        """Warn of classes, and of groups, that are probably two spellings of one."""
        labels = {
            self._columns[name]: set(self._found(name))
            for name, classes in self._classes.items()
            if not classes
        }
        if "group" in self._names:
            labels[self._names["group"]] = {track.group for track in self._tracks if track.group}
        for column, used in labels.items():
            if similar := find_similar(used):
                examples = ", ".join(" and ".join(map(ascii, pair)) for pair in similar[:3])
                _log.warning(
                    f"{self.path}: column {column!r}: spellings of one label count as different labels ({examples}, "
                    f"{len(similar)} in all). Write each label in one form"
                )

    def _target(self, row: Row, target: str, column: str) -> float | str | None:
        if target in self._ranges:
            return row.number(column, *self._ranges[target])
        allowed = self._classes[target]
        return (
            row.one_of(column, allowed, f"is not a class of {target}; allowed:")
            if allowed
            else row.text(column)
        )

    def _found(self, target: str) -> tuple[str, ...]:
        return tuple(sorted({str(track.targets[target]) for track in self._tracks if track.targets[target]}))
