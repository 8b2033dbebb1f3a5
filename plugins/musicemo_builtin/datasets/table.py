"""A table of tracks with an audio file or a `.npy` file for each: the user's own data."""

from __future__ import annotations

import itertools
import logging
import os
import sys
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from musicemo.contracts import FEATURE_ROWS, ArrayFile, Judgement, Label, Layout, Proposal, Target, Track
from musicemo.errors import InputError, nearest
from musicemo.features import SONG_SUFFIXES, Pack, PackedArray
from musicemo_builtin.datasets._arrays import FUSED_ROWS, array_shape
from musicemo_builtin.datasets._cells import find_similar, is_missing
from musicemo_builtin.datasets._columns import matches, split_tags
from musicemo_builtin.datasets._filenames import ARRAY_SUFFIXES, Files, Match
from musicemo_builtin.datasets._over_time import RatedTrack, SeriesColumns, read_series
from musicemo_builtin.datasets._pairs import PairColumns, read_pairs
from musicemo_builtin.datasets._problems import Problems
from musicemo_builtin.datasets._proposal import propose_table
from musicemo_builtin.datasets._recordings import OnError, Recordings
from musicemo_builtin.datasets._sheet import Row, Sheet, shared_cells
from musicemo_builtin.datasets._targets import check_names, check_ranges

__all__ = ["Table"]

_log = logging.getLogger(__name__)

_NOT_RATED = RatedTrack({}, {})


class Table:
    """Tracks from a table with a header and one row per track, or one row per listener and track.

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

    The table is delimited text, an Excel workbook (`.xlsx`) or a Parquet file; the last two need
    ``pip install 'musicemo[tables]'``. Text is UTF-8, or UTF-16 with a byte order mark. The delimiter is the comma,
    semicolon or tab that splits the rows into as many cells as the header; a first line such as ``sep=;`` names it. An
    empty cell of a target, the group or the part is a missing value, and so is, with a warning, a common marker such as
    ``nan`` or ``NA``. Tracks keep the order of the table. Identical rows are one track, with a warning.

    With `audio`, a column names audio files. Without it, the column `file` names feature files: `.npy`, floating
    point, `[rows, time]` or `[time, rows]`, with the same number of rows in every track, or one vector `[rows]` per
    track; or `.npz`, which ``[features] type = "arrays"`` reads. They are memory-mapped.

    A table with a row for each listener of a track, such as ::

        listener,file,valence,arousal,genre
        p1,audio/a1.mp3,6,3,Jazz
        p2,audio/a1.mp3,7,,Jazz
        p1,audio/a2.flac,2,5,Rock

    is read with ``listener = "listener"`` and ``id = "file"``. A rating is the mean over the listeners who gave it, and
    the track has the listeners' ratings. All other columns that are used have the same cell in all rows of a track.
    A table with a row for each track, and a column for each listener, is read with
    ``columns = { valence = "valence_p*" }``, in which ``*`` is any text.

    Tags are several labels at once. With ``tags = ["mood"]``, the cells of the column `mood` are such as
    ``happy;film``; an empty cell is missing, and a cell with only the separator has no tag. With
    ``tag_columns = { mood = ["happy", "film"] }``, each tag has a column of its own, with 1, 0, or an empty cell where
    it is not known.

    Pairs of tracks that listeners have compared are in another table, with a row for each judgement::

        a,b,valence_pairs,arousal_pairs,listeners
        a1,a2,a,b,7
        a1,a3,tie,,1

    which ``pairs = "pairs.csv"`` and ``pair_targets = ["valence_pairs", "arousal_pairs"]`` read: a cell is the column
    (or the id) of the track that is higher, or ``tie``. Judgements of the same pair in several rows are added up.

    Ratings over time are in a table with a row for each time::

        id,time,arousal_over_time,worker
        a1,15.0,0.25,w1
        a1,15.5,0.30,w1

    which ``series = "ratings.csv"`` and ``series_targets = { arousal_over_time = [-1, 1] }`` read. The times of a track
    are a constant period apart, and may have gaps. With ``series_listener = "worker"``, each row is of one listener,
    and the target is the mean over the listeners.

    Everything is checked on construction. Only the headers of arrays are read, and audio files must exist.

    Args:
        path: The table: `.csv`, `.tsv` or other text, `.xlsx` or `.parquet`.
        encoding: Encoding of the text, such as ``windows-1252``; by default UTF-8.
        sheet: Sheet of a workbook; by default the only one that is not empty.
        regression: Target -> lowest and highest possible value, in the table's units.
        classification: Targets whose cells are class names: as a list, with all classes that occur, in
            alphabetical order; or target -> allowed classes, in this order.
        tags: Targets whose cells are lists of tags: as a list, with all tags that occur, in alphabetical order; or
            target -> allowed tags.
        tag_columns: Target -> the columns of its tags, whose names are those of the tags.
        separator: Separator of the tags in a cell.
        pairs: Table of the judged pairs.
        pair_targets: Columns of that table with the judgements, each of which is a target.
        pair_ids: Its two columns with the ids of the tracks.
        pair_weight: Its column with the number of listeners of a judgement, or another weight above 0; by default each
            row is one listener.
        series: Table of the ratings over time.
        series_targets: Columns of that table with ratings, each of which is a target -> lowest and highest possible
            rating.
        series_time: Its column with the time in seconds, from the start of the audio file.
        series_listener: Its column with the listener.
        series_rate: Ratings per second; by default from the smallest difference between two times of a track.
        columns: Target -> column, if the column has another name. A rating with a column for each listener has a name
            with ``*``, which is any text.
        id: Column of the track's id, unique in the table unless it has a row for each listener.
        listener: Column of the listener, in a table with a row for each listener and track; ``true`` if every row is
            another listener.
        file: Column of the feature file, without `audio`.
        audio: Column of the audio file.
        pack: One file with the arrays of all tracks, such as ``musicemo extract --pack`` writes, instead of a feature
            file per track: for many tracks. Its names are the tracks' ids, or the cells of the column `file` if that
            is set to another one than ``features``.
        root: Folder to which file names are relative; by default the table's folder.
        match: How cells name files: ``exact``, by their path; or ``stem``, where that is missing, by a name that can
            differ in extension, case, separators, leading zeros and folder. A name of several files is an error.
        group: Column of the group that a grouped split keeps in one set: the artist, the album.
        part: Column of the official split: train, val (or validation), test.
        missing: Cells that mark a missing value in addition to empty cells, exactly as written; by default
            common markers such as ``NA``, ``nan``, ``None``, ``null`` and ``-``, with a warning. With an empty
            list, ``None`` is a class.
        decimal: Decimal separator of the ratings, a point or a comma.
        rows: Number of rows of each feature array; by default the size that one axis has in most arrays.
        features: Rows of feature arrays to use: all, or of arrays with 140 rows the mel spectrogram (0-127), the
            chromagram (128-139) or both (fused).
        on_error: With `audio`, how to treat songs without a file: ``raise`` one error that lists all, or ``skip`` them
            with a warning.
        drawn_from: Corpora that the songs come from, such as ``fma``: a warning names features whose weights have seen
            them.
        id_space: Name of the catalogue that the ids are from, such as ``deam`` or ``fma``: tracks of another dataset
            from the same catalogue with the same id are recognized as the same music.

    Raises:
        InputError: A column is missing, or a row or a file is not as described; up to twenty problems, each
            with file, line and column, in one error.
    """

    def __init__(
        self,
        *,
        path: Path,
        encoding: str | None = None,
        sheet: str | None = None,
        regression: dict[str, Annotated[list[float], Field(min_length=2, max_length=2)]] | None = None,
        classification: list[str] | dict[str, list[str]] | None = None,
        tags: list[str] | dict[str, list[str]] | None = None,
        tag_columns: dict[str, Annotated[list[str], Field(min_length=1)]] | None = None,
        separator: Annotated[str, Field(min_length=1)] = ";",
        pairs: Path | None = None,
        pair_targets: list[str] | None = None,
        pair_ids: Annotated[list[str], Field(min_length=2, max_length=2)] | None = None,
        pair_weight: str | None = None,
        series: Path | None = None,
        series_targets: dict[str, Annotated[list[float], Field(min_length=2, max_length=2)]] | None = None,
        series_time: str = "time",
        series_listener: str | None = None,
        series_rate: Annotated[float, Field(gt=0)] | None = None,
        columns: dict[str, str] | None = None,
        id: str = "id",
        listener: str | Literal[True] | None = None,
        file: str = "features",
        audio: str | None = None,
        pack: Path | None = None,
        root: Path | None = None,
        match: Match = "exact",
        group: str | None = None,
        part: str | None = None,
        missing: list[str] | None = None,
        decimal: Literal[".", ","] = ".",
        rows: Annotated[int, Field(ge=1)] | None = None,
        features: Literal["all", "mel", "chroma", "fused"] = "all",
        on_error: OnError = "raise",
        drawn_from: list[str] | None = None,
        id_space: str | None = None,
    ) -> None:
        self.path = path
        self.drawn_from = tuple(drawn_from or ())
        self.id_space = id_space
        self._root = root or path.parent
        if pack is not None and (audio is not None or rows is not None):
            raise InputError("table: pack replaces audio and rows. Remove them")
        self._pack = None if pack is None else Pack(pack)
        self._names = {"id": id, "file": file} if audio is None else {"id": id, "audio": audio}
        if self._pack is not None:
            self._names["file"] = id if file == "features" else file
        self._names |= {role: name for role, name in (("group", group), ("part", part)) if name is not None}
        self._listener = listener
        self._ranges = check_ranges(regression or {})
        self._classes, self._lists = _choices(classification), _choices(tags)
        self._tag_columns = tag_columns or {}
        self._separator = separator
        in_one_column: dict[str, Mapping[str, object]]
        in_one_column = {"regression": self._ranges, "classification": self._classes, "tags": self._lists}
        judged = dict.fromkeys(pair_targets or [])
        over_time = check_ranges(series_targets or {}, key="series_targets")
        declared = in_one_column | {
            "tag_columns": self._tag_columns,
            "pair_targets": judged,
            "series_targets": over_time,
        }
        check_names("table", declared, columns)
        if (pairs is None) != (not judged):
            raise InputError(
                "table: pairs, the table of judged pairs, and pair_targets, its columns, need each other"
            )
        if pairs is None and (pair_ids or pair_weight):
            raise InputError("table: pair_ids and pair_weight need pairs, the table of judged pairs")
        if (series is None) != (not over_time):
            raise InputError(
                "table: series, the table of ratings over time, and series_targets, its columns, need each other"
            )
        if series is None and (series_listener or series_rate):
            raise InputError(
                "table: series_listener and series_rate need series, the table of ratings over time"
            )
        if renamed := sorted((columns or {}).keys() & self._tag_columns.keys()):
            raise InputError(f"table: columns.{renamed[0]}: the columns of its tags are those in tag_columns")
        names = [name for declared in in_one_column.values() for name in declared]
        self._columns = {name: (columns or {}).get(name, name) for name in names}
        self._missing, self._decimal = missing, decimal
        self._encoding, self._sheet = encoding, sheet
        self._files = Files(self._root, ARRAY_SUFFIXES if audio is None else SONG_SUFFIXES, match)
        self._alike: list[str] = []
        self._problems = Problems(hint="list the cells that mark a missing value with missing = [...]")
        self._arrays: list[tuple[Path, Row, tuple[int, ...]]] = []
        self._recordings: Recordings | None = None
        if audio is not None:
            if rows is not None:
                raise InputError(
                    "table: rows can be set only for feature files (file), not for audio files (audio)"
                )
            if features != "all":
                raise InputError(
                    'table: features: for audio files, use features.outputs, such as outputs = ["mel"]'
                )
            self._recordings = Recordings(path, on_error)
        elif on_error != "raise":
            raise InputError("table: on_error requires audio files. Set the column of audio files with audio")
        height = FUSED_ROWS if features != "all" else rows
        if rows not in (None, height):
            raise InputError(
                f'table: features = "{features}" requires arrays of {FUSED_ROWS} rows, but rows is {rows}'
            )
        self._ids: set[str] = set()
        self._tracks = self._read()
        if self._arrays:
            self._tracks = self._with_layout(height)
        if self._recordings:
            self._recordings.check(self._problems)
        #: Track -> target -> its judgements.
        self._judgements: dict[str, dict[str, list[Judgement]]] = {}
        if pairs is not None:
            first, second = pair_ids or ("a", "b")
            pair_columns = PairColumns(first, second, tuple(judged), pair_weight)
            self._judgements = read_pairs(
                pairs, pair_columns, self._ids, self._problems, missing=missing, decimal=decimal
            )
        #: Track -> its ratings over time.
        self._rated: dict[str, RatedTrack] = {}
        if series is not None:
            series_columns = SeriesColumns(id, series_time, over_time, series_listener, series_rate)
            self._rated = read_series(
                series, series_columns, self._ids, self._problems, missing=missing, decimal=decimal
            )
        self._problems.raise_if_any()
        self._warn_of_similar_labels()
        if features != "all":
            self.rows = FEATURE_ROWS[features]
        self.targets = [
            *(Target(name, "regression", range=bounds) for name, bounds in self._ranges.items()),
            *(
                Target(name, "classification", classes=tuple(classes) or self._found(name))
                for name, classes in self._classes.items()
            ),
            *(
                Target(name, "tags", classes=tuple(names) or self._found(name))
                for name, names in (*self._lists.items(), *self._tag_columns.items())
            ),
            *(Target(name, "pairs") for name in judged),
            *(Target(name, "series", range=bounds) for name, bounds in over_time.items()),
        ]

    @classmethod
    def propose(cls, path: Path, files: Path | None = None, tasks: Collection[str] = ()) -> Proposal | None:
        """Return a proposal for a user's table or folder of songs."""
        return propose_table(path, files, tasks)

    def tracks(self) -> Iterator[Track]:
        """Yield the tracks in the order of the table."""
        for track in self._recordings.tracks() if self._recordings else self._tracks:
            judged, rated = self._judgements.get(track.id, {}), self._rated.get(track.id, _NOT_RATED)
            yield replace(
                track,
                targets={**track.targets, **judged, **rated.means},
                ratings={**track.ratings, **rated.listeners},
            )

    def _read(self) -> list[Track]:
        tracks: list[Track] = []
        needs = dict(self._names)
        if "file" in needs:
            needs["file, the feature files; for audio files, set audio instead"] = needs.pop("file")
        patterns = {
            target: name for target, name in self._columns.items() if "*" in name and target in self._ranges
        }
        needs |= {target: name for target, name in self._columns.items() if target not in patterns}
        needs |= {
            f"the tag {tag} of {target}": tag for target, names in self._tag_columns.items() for tag in names
        }
        if isinstance(self._listener, str):
            needs["the listener"] = self._listener
        sheet = Sheet(
            self.path,
            needs,
            self._problems,
            missing=self._missing,
            decimal=self._decimal,
            encoding=self._encoding,
            sheet=self._sheet,
        )
        #: Target -> the columns of its ratings: one, or one for each listener.
        rated = {target: [self._columns[target]] for target in self._ranges if target not in patterns}
        rated |= {target: self._matching(target, name, sheet.header) for target, name in patterns.items()}
        others = {target: column for target, column in self._columns.items() if target not in self._ranges}
        shared = [*self._names.values(), *others.values(), *itertools.chain(*self._tag_columns.values())]
        several = [
            target for target in rated if self._listener is not None or rated[target] != [self._columns[target]]
        ]
        rows_of: Iterable[tuple[str, Sequence[Row]]]
        if self._listener is None:
            rows_of = ((name, [row]) for name, row in sheet.tracks(self._names["id"]))
        else:
            column = self._listener if isinstance(self._listener, str) else None
            rows_of = sheet.listeners(self._names["id"], column).items()
        for name, rows in rows_of:
            self._ids.add(name)
            row = rows[0] if len(rows) == 1 else shared_cells(name, rows, shared)
            ratings = {
                target: [
                    rating
                    for row in rows
                    for column in columns
                    if (rating := row.number(column, *self._ranges[target])) is not None
                ]
                for target, columns in rated.items()
            }
            targets: dict[str, Label | None] = {target: _mean(of_track) for target, of_track in ratings.items()}
            targets |= {target: self._label(row, target, column) for target, column in others.items()}
            targets |= {target: _flags(row, names) for target, names in self._tag_columns.items()}
            file = self._file(row) if self._pack is None else self._packed(row)
            if file is None:
                continue
            audio = file if self._recordings and isinstance(file, Path) else None
            track = Track(
                name,
                file if audio is None else None,
                targets,
                group=self._group(row),
                part=row.part(self._names["part"]) if "part" in self._names else None,
                ratings={target: ratings[target] for target in several if ratings[target]},
                audio=audio,
            )
            tracks.append(track)
            if self._recordings:
                self._recordings.add(f"{row.where}: column {self._names['audio']!r}", track)
        if self._alike:
            listed = ", ".join(self._alike[:3])
            self._problems.add(
                f'{self.path}: set dataset.match = "stem": {len(self._alike)} of the missing files exist under another '
                f"extension, case or separator ({listed})"
            )
        return tracks

    def _matching(self, target: str, pattern: str, header: Sequence[str]) -> list[str]:
        """Return the columns of the listeners' ratings, whose names are like a pattern."""
        columns = [pattern] if pattern in header else [name for name in header if matches(pattern, name)]
        if not columns:
            self._problems.add(
                f"{self.path}: no column is like columns.{target} = {pattern!r}{nearest(pattern, header)}"
            )
        for name in {name for name in columns if columns.count(name) > 1}:
            self._problems.add(
                f"{self.path}: columns.{target}: column {name!r} is more than once in the header"
            )
        return columns

    def _group(self, row: Row) -> str | None:
        """Return the group; tracks of one group share the text."""
        group = row.text(self._names["group"]) if "group" in self._names else None
        return None if group is None else sys.intern(group)

    def _packed(self, row: Row) -> PackedArray | None:
        """Return an array of the pack; None if there is none."""
        assert self._pack is not None
        column = self._names["file"]
        name = row.cells[column]
        if name in self._pack:
            return PackedArray(self._pack, name)
        row.blame(column, f"{self._pack.path}: has no array {name!r}{nearest(name, self._some_names)}", "pack")
        return None

    @cached_property
    def _some_names(self) -> list[str]:
        assert self._pack is not None
        return list(itertools.islice(self._pack, 1000))  # to compare a name with a million takes minutes

    def _file(self, row: Row) -> Path | None:
        """Return an audio file, or a feature file whose header was read; None if it is missing."""
        column = self._names["audio" if self._recordings else "file"]
        cell = row.cells[column]
        path = self._root / cell
        if is_missing(cell, self._missing) and not os.path.isfile(path):  # noqa: PTH113  # any text is allowed
            if self._recordings:
                self._recordings.leave_out(
                    f"{row.where}: column {column!r}: is empty, but every track needs an audio file"
                )
            else:
                row.blame(column, "is empty, but every track needs a feature file", "empty")
            return None
        matches = self._files.find(cell)
        if len(matches) > 1:
            shown = " and ".join(str(file.relative_to(self._root)) for file in matches[:2])
            row.blame(
                column, f"{cell!r} is the name of {len(matches)} files in {self._root} ({shown})", "several"
            )
            return None
        if matches:
            (path,) = matches
        elif alike := self._files.alike(cell):
            self._alike.append(f"{cell!r} as {str(alike[0].relative_to(self._root))!r}")
        if not self._recordings and path.suffix.lower() != ".npz":
            try:
                self._arrays.append((path, row, array_shape(path)))
            except InputError as error:
                row.blame(column, str(error), str(error).replace(str(path), "#"))
                return None
        return path

    def _with_layout(self, height: int | None) -> list[Track]:
        """Return the tracks with the layout of their arrays, and note those that differ from most in their rows.

        The axis that has `height` rows, or the same size in most arrays, is that of the rows. If both have, it is the
        first one.
        """
        shapes = [shape for _, _, shape in self._arrays]
        if all(len(shape) == 1 for shape in shapes):
            layout: Layout = "vector"
            axis = 0
        else:
            counts = [Counter(shape[axis] for shape in shapes if len(shape) == 2) for axis in (0, 1)]
            sizes = [height or count.most_common(1)[0][0] for count in counts]
            agree = [count[size] for count, size in zip(counts, sizes, strict=True)]
            axis = int(agree[1] > agree[0])
            if agree[0] == agree[1] and height is None and 1 in sizes:
                axis = int(sizes[0] == 1)  # one time step for the track
            elif agree[0] == agree[1] and height is None and len(shapes) > 1:
                axis = int(FUSED_ROWS == sizes[1] != sizes[0])
                if axis == 1 or FUSED_ROWS != sizes[0] > sizes[1] > 1:
                    read, other = ("[time, rows]", "[rows, time]") if axis else ("[rows, time]", "[time, rows]")
                    _log.warning(
                        f"{self.path}: column {self._names['file']!r}: every array has the shape {list(shapes[0])}. "
                        f"It is read as {read}, with {sizes[axis]} rows: set rows = {sizes[axis]} to confirm it. If it "
                        f"is {other}, set rows = {sizes[1 - axis]}"
                    )
            layout = "time-rows" if axis else "rows-time"
        size = height or Counter(shape[axis] for shape in shapes if len(shape) > axis).most_common(1)[0][0]
        fit = [row for _, row, shape in self._arrays if _rows_of(shape, layout) == size]
        first = (
            f"the array of line {fit[0].where.rpartition(':')[2]} has {size}" if fit else f"{size} are needed"
        )
        if height is not None:
            first = f"{size} are needed"
        for path, row, shape in self._arrays:
            if (rows := _rows_of(shape, layout)) != size:
                many = f"{rows} rows" if rows else f"shape {list(shape)}"
                message = f"{path}: has {many}, but {first}"
                row.blame(self._names["file"], message, "height")
        files = {path for path, _, _ in self._arrays}
        return [
            replace(track, features=ArrayFile(track.features, layout))
            if isinstance(track.features, Path) and track.features in files
            else track
            for track in self._tracks
        ]

    def _warn_of_similar_labels(self) -> None:
        """Warn of classes, and of groups, that are probably two spellings of one."""
        labels = {
            self._columns[name]: set(self._found(name))
            for name, classes in (*self._classes.items(), *self._lists.items())
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

    def _label(self, row: Row, target: str, column: str) -> Label | None:
        if target in self._lists:
            return self._tags(row, target, column)
        allowed = self._classes[target]
        return (
            row.one_of(column, allowed, f"is not a class of {target}; allowed:")
            if allowed
            else row.text(column)
        )

    def _tags(self, row: Row, target: str, column: str) -> tuple[str, ...] | None:
        cell = row.text(column)
        if cell is None:
            return None
        names = tuple(split_tags(cell, self._separator))
        allowed = self._lists[target]
        for name in names if allowed else ():
            if name not in allowed:
                row.blame(
                    column,
                    f"{name!r} is not a tag of {target}{nearest(name, allowed)} (allowed: {', '.join(allowed)})",
                    "tag",
                )
        return names

    def _found(self, target: str) -> tuple[str, ...]:
        """Return the classes or tags that occur."""
        names: set[str] = set()
        for track in self._tracks:
            label = track.targets[target]
            names |= {label} if isinstance(label, str) else set(label) if isinstance(label, tuple) else set()
        return tuple(sorted(names))


def _choices(declared: list[str] | dict[str, list[str]] | None) -> dict[str, list[str]]:
    """Return target -> allowed classes or tags; empty if all that occur are allowed."""
    return dict(declared) if isinstance(declared, dict) else {name: [] for name in declared or []}


def _mean(ratings: Sequence[float]) -> float | None:
    """Return the mean of the listeners' ratings, which rounding does not move beyond them; None without any."""
    return min(max(sum(ratings) / len(ratings), min(ratings)), max(ratings)) if ratings else None


def _flags(row: Row, columns: Sequence[str]) -> dict[str, bool | None] | None:
    """Return tag -> whether it applies, from a column for each; None if no tag is known."""
    cells = {column: row.one_of(column, ("0", "1"), "must be one of") for column in columns}
    if all(cell is None for cell in cells.values()):
        return None
    return {column: None if cell is None else cell == "1" for column, cell in cells.items()}


def _rows_of(shape: tuple[int, ...], layout: Layout) -> int | None:
    """Return the number of rows of an array; None if it has another number of axes."""
    if len(shape) != (1 if layout == "vector" else 2):
        return None
    return shape[1] if layout == "time-rows" else shape[0]
