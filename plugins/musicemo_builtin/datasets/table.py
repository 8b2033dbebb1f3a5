"""A CSV of tracks, and an audio file or a `.npy` file for each: anybody's own data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from musicemo.contracts import FEATURE_ROWS, Proposal, Target, Track
from musicemo.errors import InputError
from musicemo_builtin.datasets._arrays import FUSED_ROWS, array_shape
from musicemo_builtin.datasets._problems import Problems
from musicemo_builtin.datasets._proposal import propose_table
from musicemo_builtin.datasets._recordings import Duration, Offset, OnError, Recordings, Sync
from musicemo_builtin.datasets._sheet import Row, Sheet
from musicemo_builtin.datasets._targets import check_names, check_ranges

__all__ = ["Table"]


class Table:
    """Tracks from delimited text: a header, then one row a track.

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

    The text is UTF-8; cells are separated by commas, semicolons or tabs, whichever the header has most of, and
    by tabs in a `.tsv` file. An empty cell of a target, the group or the part means that it is unknown. Tracks keep
    the table's order.

    With `audio`, a column names audio files, whose features are made when the tracks are first asked for. Without,
    the column `file` names feature files: `.npy`, floating-point, `[rows, frames]`, with the same number of rows in
    every track; they are given as paths, to be memory-mapped.

    Everything is checked on construction, arrays by their headers alone, and audio files for being there.

    Args:
        path: The table.
        regression: Target -> its lowest and highest possible value, in the table's own units.
        classification: Targets whose cells are class names: a list takes the classes that the table holds, in
            alphabetical order; a mapping from target to classes allows these only, in this order.
        columns: Target -> its column, where that has another name.
        id: Column of the track's id, unique in the table.
        file: Column of the feature file, if there is no `audio`.
        audio: Column of the audio file.
        root: What files are relative to; by default the table's folder.
        group: Column of what must not stand on two sides of a grouped split: the artist, the album.
        part: Column of the official split: train, val (or validation), test.
        features: Rows to use: all, or of arrays with 140 rows the mel spectrogram (0-127), the chromagram
            (128-139) or both (fused); audio has 140.
        sync: Of audio, columns: one a beat or one a frame.
        offset: Of audio, where the excerpt that is analysed begins, in seconds.
        duration: Of audio, the excerpt's length in seconds; by default the rest of the song.
        cache: Of audio, folder for the features; by default `$MUSICEMO_CACHE`, or `musicemo` in the user's cache
            folder.
        on_error: What audio does that is missing or cannot be analysed: ``raise`` an error that lists all, or be left
            out (``skip``) with a warning.

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
        self._problems = Problems()
        self._height: tuple[int, str] | None = None
        self._recordings: Recordings | None = None
        if audio is not None:
            rows = "fused" if features == "all" else features
            self._recordings = Recordings("table", path, rows, sync, offset, duration, cache, on_error)
        elif (sync, offset, duration, cache, on_error) != ("beat", 0.0, None, None, "raise"):
            raise InputError(
                "table: sync, offset, duration, cache and on_error are for audio; name its column with audio"
            )
        self._tracks = self._read(FUSED_ROWS if features != "all" else None)
        if self._recordings:
            self._recordings.check(self._problems)
        self._problems.raise_if_any()

        self.sync = self._recordings.sync if self._recordings else None
        self.recipe = self._recordings.recipe if self._recordings else None
        self.rows = (
            self._recordings.rows
            if self._recordings
            else FEATURE_ROWS[features]
            if features != "all"
            else slice(0, self._height[0] if self._height else 0)
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
        """Return what it would make of somebody's table, or of a folder of songs."""
        return propose_table(path)

    def tracks(self) -> Iterator[Track]:
        """Yield the tracks in the table's order; analyse the audio that the cache has not."""
        yield from self._recordings.tracks() if self._recordings else self._tracks

    def _read(self, height: int | None) -> list[Track]:
        tracks: list[Track] = []
        sheet = Sheet(self.path, {**self._names, **self._columns}, self._problems)
        for name, row in sheet.tracks(self._names["id"]):
            track = Track(
                name,
                self._file(row, height),
                {target: self._target(row, target, column) for target, column in self._columns.items()},
                group=row.text(self._names["group"]) if "group" in self._names else None,
                part=row.part(self._names["part"]) if "part" in self._names else None,
            )
            tracks.append(track)
            if self._recordings and row.cells[self._names["audio"]]:
                self._recordings.add(f"{row.where}: column {self._names['audio']!r}", track)
        return tracks

    def _file(self, row: Row, height: int | None) -> Path:
        """Return an audio file or a feature file, the latter checked by its header.

        The first good one decides how many rows the others have.
        """
        what = "audio" if self._recordings else "file"
        column = self._names[what]
        path = self._root / row.cells[column]
        if not row.cells[column]:
            needed = "an audio file" if self._recordings else "a feature file"
            row.blame(column, f"is empty, every track needs {needed}")
            return path
        if self._recordings:
            return path
        try:
            found = array_shape(path, height)[0]
        except InputError as error:
            row.blame(column, str(error))
            return path
        line = row.where.rpartition(":")[2]
        self._height = self._height or (found, line)
        if found != self._height[0]:
            row.blame(
                column, f"{path}: has {found} rows, the array of line {self._height[1]} has {self._height[0]}"
            )
        return path

    def _target(self, row: Row, target: str, column: str) -> float | str | None:
        if target in self._ranges:
            return row.number(column, *self._ranges[target])
        allowed = self._classes[target]
        return (
            row.one_of(column, allowed, f"is no class of {target}, which has") if allowed else row.text(column)
        )

    def _found(self, target: str) -> tuple[str, ...]:
        return tuple(sorted({str(track.targets[target]) for track in self._tracks if track.targets[target]}))
