"""Proposals of `table` for a user's table or folder of songs, for ``musicemo init``."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from musicemo.contracts import Label, Proposal, Target, Track
from musicemo.errors import InputError
from musicemo.features import SONG_SUFFIXES
from musicemo.files import csv_text
from musicemo_builtin.datasets._arrays import ArrayForm, array_form
from musicemo_builtin.datasets._cells import is_missing
from musicemo_builtin.datasets._columns import (
    Guess,
    decimal_of,
    group_reason,
    guess_column,
    guess_ratings,
    is_group,
    is_id,
    is_listener,
    is_part,
    is_time,
    joint_scales,
    listener_stem,
    matches,
    missing_codes,
    number,
    split_tags,
    target_name,
)
from musicemo_builtin.datasets._filenames import ARRAY_SUFFIXES, Files, files_below, plain_name, suffix_of
from musicemo_builtin.datasets._layout import is_companion
from musicemo_builtin.datasets._rows import TABLES, encoding_of, read_rows
from musicemo_builtin.datasets._sheet import repeated_rows
from musicemo_builtin.datasets._workbook import sheets_of

__all__ = ["propose_table"]

#: Number of cells of a column whose files are looked up to detect the column of files.
_SAMPLE = 50
#: Minimum share of these files that must exist.
_THERE = 0.5
#: Maximum depth of folders to look for files in.
_DEPTH = 2
#: Maximum number of numeric targets. A table with more numeric columns usually contains features.
_MOST_TARGETS = 24
#: Maximum number of columns listed by name for one reason.
_LISTED = 3
#: Maximum number of column names in a message.
_SHOWN = 30
#: Minimum number of files of a column that is recognized without a file for most rows.
_FEWEST_FILES = 12
#: Maximum share of other cells in a column of file names.
_STRAYS = 0.1
#: Maximum share of the tracks whose rows have different classes, by mistake.
_MISTAKES = 0.1
#: Rows per file, on average, from which on a table has a row for each listener.
_ROWS_A_LISTENER = 1.5
#: Minimum share of the listeners who differ within each track, in a column with the name of listeners.
_UNIQUE = 0.9
#: Minimum number of equal cells within tracks that is expected by chance, for their absence to mean something.
_COINCIDENCES = 5
#: Minimum share of the rows whose time is above that of the row before.
_RISING = 0.8
#: Maximum difference of a mean that is rounded to one decimal place.
_ROUNDING = 0.051
#: A column name with one number: before, number, after.
_NUMBERED = re.compile(r"(\D*)(\d+)(\D*)")
#: The target of a folder with a subfolder of songs per class.
_CLASS = "class"
#: Names of the targets that are preferred in a table with too many numeric columns.
_TELLING = re.compile(
    "valen[cz]|arousal|energ|danceab|dominan|tension|happ|sad|ang(er|ry)|fear|tender|calm|power|joy|surprise"
    "|nostalgi|solemn|amaze|pleas|activation|mood|genre|style|quadrant|emotion"
)


def propose_table(path: Path, files: Path | None = None, tasks: Collection[str] = ()) -> Proposal | None:
    """Return the proposal for a table, for the table in a folder, or for a folder with a subfolder of songs per class.

    Args:
        path: The table or folder.
        files: Folder of the audio or feature files; by default they are looked for beside the table.
        tasks: Targets that the user asks for.

    Raises:
        InputError: There is a table but it cannot be used. The message gives the reason and a fix.
    """
    if path.is_file():
        return _of_table(path, files, tasks) if is_table(path) or _is_delimited(path) else None
    tables = sorted(file for file in path.iterdir() if is_table(file) and not is_companion(file.name))
    proposals: list[Proposal] = []
    reasons: list[str] = []
    for table in tables:
        try:
            proposals.append(_of_table(table, files, tasks))
        except InputError as error:
            reasons += error.problems
    if len(proposals) > 1:
        names = ", ".join(table.name for table in tables)
        raise InputError(f"{path}: contains more than one table ({names}). Give the path of one of them")
    if proposals:
        return proposals[0]
    by_class = _by_class(path)
    if by_class is None and reasons:
        raise InputError(*reasons)
    if by_class is None and (beside := _tables_beside(path)):
        names = ", ".join(map(str, beside[:_LISTED]))
        raise InputError(f"{path}: contains songs, but no table. Give the path of a table, such as {names}")
    if by_class is not None and reasons and _CLASS not in tasks:
        classes = ", ".join(by_class.targets[0].classes)
        names = ", ".join(table.name for table in tables)
        raise InputError(
            f"{path}: contains a table ({names}), which cannot be used, and folders of songs ({classes}). To use the "
            f"table, correct it; to learn in which folder a song is, use --task {_CLASS}",
            *reasons,
        )
    return by_class


def is_table(path: Path) -> bool:
    """Return whether a path has the suffix of a table."""
    return path.suffix.lower() in TABLES


def _tables_beside(folder: Path) -> list[Path]:
    """Return the tables beside a folder of songs or feature files; none if it has no such file."""
    try:
        tables = [file for file in folder.parent.iterdir() if is_table(file) and not is_companion(file.name)]
    except OSError:  # a folder that cannot be read has nothing to suggest
        return []
    return sorted(tables) if tables and files_below(folder, SONG_SUFFIXES | ARRAY_SUFFIXES) else []


def _is_delimited(path: Path) -> bool:
    """Return whether a .txt file has more than one column, as spreadsheet programs write Unicode text."""
    return path.suffix.lower() == ".txt" and len(read_rows(path, encoding=encoding_of(path))[0][1]) > 1


@dataclass
class _Columns:
    """A table's cells by column, its decimal separator, and the ignored columns with the reasons."""

    path: Path
    #: Column -> the cell of each row, later of each track.
    cells: dict[str, list[str]]
    #: Line of each row.
    lines: list[int]
    #: The first row with the same cells as each row.
    same: list[int]
    encoding: str | None = None
    sheet: str | None = None
    left_out: dict[str, str] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    #: Key of the dataset's table -> comment.
    comments: dict[str, str] = field(default_factory=dict)
    decimal: str = "."
    #: Column -> numbers that mark missing ratings -> how often.
    codes: dict[str, Counter[str]] = field(default_factory=dict)
    #: Column of the listener, if there is a row for each listener of a track; True if no column has the listener.
    listener: str | Literal[True] | None = None
    #: Columns with the mean ratings of listeners.
    rated: set[str] = field(default_factory=set)
    #: Column -> the cells of all listeners of all tracks.
    every: dict[str, list[str]] = field(default_factory=dict)
    #: Column -> the pattern of the names of the listeners' columns that it is the mean of.
    patterns: dict[str, str] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        return len(self.lines)


@dataclass
class _FileColumn:
    """The column of audio or feature files."""

    name: str
    #: Folder that the cells are relative to.
    root: Path
    audio: bool
    #: Cell -> file.
    paths: dict[str, Path]
    #: Number of cells that name a file only without extension, case and separators.
    alike: int = 0


def _read(path: Path) -> _Columns:
    """Return the rows of the table.

    Raises:
        InputError: It cannot be read, or has no tracks, or a workbook has several sheets with tracks.
    """
    encoding, sheet = encoding_of(path), None
    if path.suffix.lower() in (".xlsx", ".xlsm") and len(sheets := sheets_of(path)) > 1:
        usable = [name for name in sheets if len(read_rows(path, sheet=name)) > 1]
        sheet = max(usable or sheets, key=lambda name: len(read_rows(path, sheet=name)))
    (_, header), *rows = read_rows(path, encoding=encoding, sheet=sheet)
    complete = [(line, tuple(cells)) for line, cells in rows if len(cells) == len(header)]
    if not complete:
        raise InputError(
            f"{path}: has no tracks (expected a header, then one row per track)"
            if not rows
            else f"{path}: the first row has {len(header)} cells and the next one has {len(rows[0][1])}. The first row "
            "must be the header: delete titles above it"
        )
    first: dict[tuple[str, ...], int] = {}
    columns = _Columns(
        path,
        {name: [cells[at] for _, cells in complete] for at, name in enumerate(header) if name},
        [line for line, _ in complete],
        [first.setdefault(cells, row) for row, (_, cells) in enumerate(complete)],
        encoding,
        sheet,
    )
    if sheet is not None:
        others = ", ".join(name for name in sheets if name != sheet)
        columns.remarks.append(f"the sheet {sheet!r} is read, which has the most rows; other sheets: {others}")
    for name in [name for name, count in Counter(header).items() if count > 1 and name]:
        columns.left_out[name] = "appears more than once in the header"
        del columns.cells[name]
    columns.decimal = decimal_of(columns.cells.values())
    columns.codes = missing_codes(columns.cells, columns.decimal)
    for name, codes in columns.codes.items():
        columns.cells[name] = ["" if cell in codes else cell for cell in columns.cells[name]]
        count = sum(codes.values())
        columns.remarks.append(
            f"{' and '.join(sorted(codes))} in column {name!r} {'is' if len(codes) == 1 else 'are'} read as missing "
            f"({count} cell{'s' if count > 1 else ''} far from the others). If they are ratings, change the key missing"
        )
    return columns


def _of_table(path: Path, folder: Path | None, tasks: Collection[str]) -> Proposal:
    columns = _read(path)
    file = _file_column(columns, folder)
    _check_rows(columns, file)
    _join_rows(columns, file.name, tasks)
    if columns.listener is None:
        _join_columns(columns)
    identity = _id_column(columns, file)
    part = _first(columns, is_part)
    group, group_why = _group(columns, {file.name, identity, part, columns.listener}, tasks)
    guesses, others = _targets(columns, {file.name, identity, group, part, columns.listener}, tasks)
    declared = guesses | others
    names = {column: target_name(column) for column in declared}
    parameters: dict[str, Any] = {"path": path}
    comments = columns.comments | {"id": f"{len(set(columns.cells[identity]))} distinct values"}
    if columns.encoding:
        parameters["encoding"] = columns.encoding
        comments["encoding"] = "the text is not UTF-8; if letters are wrong, save the table in UTF-8"
    if columns.sheet:
        parameters["sheet"] = columns.sheet
    parameters["id"] = identity
    if columns.listener is not None:
        parameters["listener"] = columns.listener
    parameters |= {("audio" if file.audio else "file"): file.name}
    if file.root != path.parent:
        parameters["root"] = file.root
        comments["root"] = "folder of the files"
    if file.alike:
        parameters["match"] = "stem"
        cell, example = next((cell, name) for cell, name in file.paths.items() if cell != str(name))
        comments["match"] = "the names differ from the files' in extension, case or separators"
        columns.remarks.append(
            f"column {file.name!r}: {file.alike} of {len(set(columns.cells[file.name]))} names are matched without "
            f"extension, case and separators, such as {cell!r} with {example.name!r}"
        )
    used = [columns.every.get(name) or columns.cells[name] for name in (*declared, group, part) if name]
    markers = Counter(cell for cells in used for cell in cells if cell and is_missing(cell))
    markers.update(sum(columns.codes.values(), Counter()))
    if markers:
        parameters["missing"] = sorted(markers)
        listed = ", ".join(f"{count} {cell!r}" for cell, count in sorted(markers.items()))
        comments["missing"] = f"cells that mark a missing value: {listed}"
    if columns.decimal == "," and any(guess.kind == "regression" for guess in declared.values()):
        parameters["decimal"] = ","
        comments["decimal"] = "decimal separator of the ratings"
    ranges = {names[column]: guess for column, guess in declared.items() if guess.kind == "regression"}
    classes = [names[column] for column, guess in declared.items() if guess.kind == "classification"]
    tags = {names[column]: guess for column, guess in declared.items() if guess.kind == "tags"}
    if ranges:
        parameters["regression"] = {name: [*guess.range] for name, guess in ranges.items()}
        reasons = "; ".join(
            f"{name} has values {guess.extent[0]:g} to {guess.extent[1]:g}" for name, guess in ranges.items()
        )
        comments["regression"] = (
            f"the ends of the rating scales are guesses, replace them by the true ones: {reasons}"
        )
        columns.remarks.append(_on_scales(ranges))
    if classes:
        parameters["classification"] = classes
    if tags:
        parameters["tags"] = list(tags)
        parameters["separator"] = next(iter(tags.values())).separator
        comments["tags"] = "; ".join(
            f"{name} has {len(guess.classes or ())} tags" for name, guess in tags.items()
        )
    columns_of = {name: columns.patterns.get(column, column) for column, name in names.items()}
    if renamed := {name: column for name, column in columns_of.items() if name != column}:
        parameters["columns"] = renamed
    if group:
        parameters["group"] = group
        count = len(set(columns.cells[group]) - {""})
        comments["group"] = (
            f"{count} distinct values; a grouped split puts each in only one set"
            if not group_why
            else f"Are these artists, albums or the like? {group_why}. A grouped split puts each in only one set: "
            "otherwise, a model that recognizes an artist seems better than it is. If they are not, delete this line"
        )
        if group_why:
            columns.remarks.append(
                f"column {group!r} is used as the group ({group_why}). If its values are classes, use "
                f"--task {target_name(group)}"
            )
    if part:
        parameters["part"] = part
        comments["part"] = "official split of the table"
    tracks = list(_tracks(columns, file, identity, group, part, declared))
    absent = [track for track in tracks if not Path(str(track.audio or track.features)).is_file()]
    if file.audio and absent:
        parameters["on_error"] = "skip"
        shown = ", ".join(repr(track.id) for track in absent[:_LISTED])
        comments["on_error"] = f"{len(absent)} of {len(tracks)} tracks have no file, for example {shown}"
        missing = {track.id for track in absent}
        tracks = [track for track in tracks if track.id not in missing]
    form = ArrayForm()
    if not file.audio:
        form = array_form([track.features for track in tracks if isinstance(track.features, Path)])
        columns.remarks.append(form.remark)
        parameters |= form.dataset
    return Proposal(
        parameters,
        tracks,
        [_target(names[column], guess) for column, guess in guesses.items()],
        others=[_target(names[column], guess) for column, guess in others.items()],
        comments=comments,
        notes=_notes(columns.left_out),
        remarks=columns.remarks,
        features=form.features,
        general=True,
    )


def _on_scales(ranges: dict[str, Guess]) -> str:
    """Return the note on the guessed scales: the ratings of each scale."""
    by_scale: dict[tuple[float, float], list[str]] = defaultdict(list)
    for name, guess in ranges.items():
        by_scale[guess.range].append(name)
    texts = []
    for (low, high), names in by_scale.items():
        more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
        texts.append(f"{low:g} to {high:g} for {', '.join(names[:_LISTED])}{more}")
    subject = "the rating scales are guesses" if len(by_scale) > 1 else "the rating scale is a guess"
    return f"{subject} ({'; '.join(texts)}). The true ends belong in the table [dataset], key regression"


def _notes(left_out: dict[str, str]) -> list[str]:
    """Return a sentence for each ignored column, or one for many columns with the same reason."""
    names: dict[str, list[str]] = defaultdict(list)
    for name, why in left_out.items():
        names[why].append(name)
    notes = []
    for why, columns in names.items():
        if len(columns) <= _LISTED:
            notes += [f"column {name!r} {why}" for name in columns]
        else:
            listed = ", ".join(map(repr, columns[:_LISTED]))
            notes.append(f"{len(columns)} columns ({listed} and others): each {why}")
    return notes


def _file_column(columns: _Columns, folder: Path | None) -> _FileColumn:
    """Return the column of the audio or feature files: by the paths in its cells, or else by the names of files.

    Raises:
        InputError: No column names files, or it is open which files it names.
    """
    top = folder or columns.path.parent
    named = {name: cells for name, cells in columns.cells.items() if _common_suffixes(cells)}
    for root in (top, *_folders(top)):
        for name, cells in named.items():
            present = [cell for cell in dict.fromkeys(cells) if not is_missing(cell)]
            sample = present[:_SAMPLE]
            if sum((root / cell).is_file() for cell in sample) > _THERE * len(sample):
                return _with_paths(columns, name, root, audio=not _common_suffixes(cells) <= ARRAY_SUFFIXES)
    by_name = [
        column
        for suffixes in (SONG_SUFFIXES, ARRAY_SUFFIXES)
        if (column := _column_by_name(columns, top, suffixes)) is not None
    ]
    if len(by_name) > 1:
        raise InputError(
            f"{columns.path}: {by_name[0].name!r} names audio files in {by_name[0].root} and feature files in "
            f"{by_name[1].root}. Choose the folder with --files"
        )
    if by_name:
        return by_name[0]
    raise InputError(_no_files(columns, top, named))


def _no_files(columns: _Columns, top: Path, named: Collection[str]) -> str:
    """Return the message that no column names files that exist."""
    there = files_below(top, SONG_SUFFIXES | ARRAY_SUFFIXES)
    examples = ", ".join(repr(str(file.relative_to(top))) for file in there[:_LISTED])
    below = f"{len(there)} files there, such as {examples}" if there else "no audio or feature file there"
    fix = "If the files are in another folder, name it with --files FOLDER"
    if named:
        name = next(iter(named))
        missing = next(cell for cell in columns.cells[name] if not is_missing(cell))
        return (
            f"{columns.path}: column {name!r} names files that do not exist, for example {missing!r} (searched {top} "
            f"and its subfolders; {below}). {fix}"
        )
    names = list(columns.cells)
    if sum(bool(suffix_of(name)) for name in names) > _THERE * len(names):
        return (
            f"{columns.path}: the header has the names of files, such as {names[-1]!r}. The table must have a row for "
            "each track: exchange its rows and columns"
        )
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    listed = ", ".join(names[:_SHOWN]) + more
    return (
        f"{columns.path}: no column names audio or feature files (searched {top} and its subfolders; {below}). "
        f"Columns: {listed}. Add a column with each track's file. {fix}"
        + (
            f". If {names[0]!r} is a title, delete it: the first row must be the header"
            if len(names) == 1
            else ""
        )
    )


def _with_paths(columns: _Columns, name: str, root: Path, *, audio: bool) -> _FileColumn:
    """Return a column with the files that its cells name."""
    files = Files(root, SONG_SUFFIXES if audio else ARRAY_SUFFIXES)
    paths: dict[str, Path] = {}
    alike, several = 0, []
    for cell in dict.fromkeys(columns.cells[name]):
        if not cell or (is_missing(cell) and not (root / cell).is_file()):
            continue
        matches = files.find(cell)
        if len(matches) > 1:
            shown = " and ".join(str(file.relative_to(root)) for file in matches[:2])
            several.append(f"{cell!r} ({shown})")
        elif matches:
            paths[cell] = matches[0]
            alike += matches[0] != root / cell
    _check_numbers(columns, name, paths, files_below(root, SONG_SUFFIXES if audio else ARRAY_SUFFIXES))
    if several:
        more = f" and {len(several) - _LISTED} more" if len(several) > _LISTED else ""
        raise InputError(
            f"{columns.path}: column {name!r}: {len(several)} names match several files in {root}: "
            f"{', '.join(several[:_LISTED])}{more}. Choose the folder with --files"
        )
    return _FileColumn(name, root, audio, paths, alike)


def _check_numbers(columns: _Columns, name: str, paths: dict[str, Path], there: Sequence[Path]) -> None:
    """Raise an `InputError` if rows and files are counted from different numbers, so that each row has a wrong file."""
    cells = {cell for cell in columns.cells[name] if not is_missing(cell)}
    gone = [cell for cell in cells if cell not in paths]
    if len(gone) != 1 or len(cells) < _FEWEST_FILES or not all(map(str.isdecimal, cells)):
        return
    numbers = sorted(map(int, cells))
    beyond = {numbers[0]: numbers[-1] + 1, numbers[-1]: numbers[0] - 1}.get(int(gone[0]))
    used = set(paths.values())
    if unused := [file for file in there if file not in used and plain_name(file.name) == str(beyond)]:
        raise InputError(
            f"{columns.path}: column {name!r} counts from {numbers[0]} to {numbers[-1]}, and the files probably from "
            f"{min(numbers[1], int(beyond or 0))}: {gone[0]!r} has no file, and {unused[0].name!r} has no row, so each "
            "row would get the file of another. Write the names of the files into the column"
        )


def _column_by_name(columns: _Columns, top: Path, suffixes: Collection[str]) -> _FileColumn | None:
    """Return the column whose cells are names of files without extension, case and separators; None without one."""
    files = Files(top, suffixes)
    there = files_below(top, suffixes)
    best: tuple[int, float] = (0, 0.0)
    name = ""
    for column, cells in columns.cells.items():
        different = [cell for cell in dict.fromkeys(cells) if not is_missing(cell)]
        count = sum(any(suffix_of(file.name) in suffixes for file in files.find(cell)) for cell in different)
        # of tracks with several rows: the column names most of the files, too
        most = count >= max(_THERE * len(different), _THERE * len(there), _FEWEST_FILES)
        if (most or count > _THERE * columns.rows) and (count, count / len(different)) > best:
            best, name = (count, count / len(different)), column
    if not name:
        return None
    matches = [several for cell in set(columns.cells[name]) if (several := files.find(cell))]
    counts = Counter(
        folder for several in matches for folder in {file.relative_to(top).parts[:-1][:1] for file in several}
    )
    complete = [folder for folder, count in counts.items() if count == len(matches)]
    root = top.joinpath(*complete[0]) if len(complete) == 1 else top
    return _with_paths(columns, name, root, audio=suffixes is SONG_SUFFIXES)


def _common_suffixes(cells: Sequence[str]) -> set[str]:
    """Return the suffixes of the files that a column names; empty if it does not name files of one kind.

    A few cells may be without, such as that of a row with totals.
    """
    endings: set[str] = set()
    strays = 0
    for cell in cells:
        if not is_missing(cell):
            if suffix := suffix_of(cell):
                endings.add(suffix)
            elif (strays := strays + 1) > _STRAYS * len(cells):
                return set()
    return endings if endings <= ARRAY_SUFFIXES or not endings & ARRAY_SUFFIXES else set()


def _folders(top: Path, depth: int = _DEPTH) -> Iterator[Path]:
    if not depth:
        return
    for path in sorted(top.iterdir()):
        if path.is_dir() and not is_companion(path.name):
            yield path
            yield from _folders(path, depth - 1)


def _id_column(columns: _Columns, file: _FileColumn) -> str:
    unique = [
        name
        for name, cells in columns.cells.items()
        if all(cells) and len(set(cells)) == len(cells) and name not in columns.rated
    ]
    if file.name not in unique and not any(is_id(name) for name in unique):
        raise InputError(_repeated(columns, file.name))
    return next((name for name in unique if is_id(name)), file.name)


def _repeated(columns: _Columns, name: str) -> str:
    """Return the message that several rows have one id but differ in another column."""
    first: dict[str, int] = {}
    repeated = []
    for row, cell in enumerate(columns.cells[name]):
        if (earlier := first.setdefault(cell, row)) != row:
            other, values = next(
                (other, values) for other, values in columns.cells.items() if values[row] != values[earlier]
            )
            repeated.append(
                f"{cell!r} in lines {columns.lines[earlier]} and {columns.lines[row]}, with {values[earlier]!r} and "
                f"{values[row]!r} in column {other!r}"
            )
    more = f"; and {len(repeated) - _LISTED} more" if len(repeated) > _LISTED else ""
    count = "1 row repeats" if len(repeated) == 1 else f"{len(repeated)} rows repeat"
    return (
        f"{columns.path}: column {name!r}: {count} a track with other values: "
        f"{'; '.join(repeated[:_LISTED])}{more}. Keep one row per track"
    )


def _check_rows(columns: _Columns, file: _FileColumn) -> None:
    """Raise an `InputError` if rows do not name a file, such as totals and further lines of a header."""
    cells = columns.cells[file.name]
    named = bool(_common_suffixes(cells))
    ids = any(
        is_id(name) and all(values) and len(set(values)) == len(values)
        for name, values in columns.cells.items()
        if name != file.name
    )
    strays = [
        f"line {columns.lines[row]} ({repr(cell) if cell else 'empty'})"
        for row, cell in enumerate(cells)
        if cell not in file.paths
        and (not file.audio or (not ids if is_missing(cell) else named and not suffix_of(cell)))
    ]
    if strays:
        more = f" and {len(strays) - _LISTED} more" if len(strays) > _LISTED else ""
        count = "1 row does" if len(strays) == 1 else f"{len(strays)} rows do"
        raise InputError(
            f"{columns.path}: column {file.name!r}: {count} not name a file: {', '.join(strays[:_LISTED])}{more}. "
            "Delete rows that are not tracks, such as totals and further lines of the header, and add missing files"
        )


def _join_rows(columns: _Columns, file: str, tasks: Collection[str]) -> None:
    """Make the cells those of the tracks: one row of identical ones, and one of the rows of a track's listeners.

    Args:
        columns: The rows of the table, which are changed.
        file: Column of the files.
        tasks: Targets that the user asks for.

    Raises:
        InputError: The table has a row for each time of a track, or the rows of a few tracks have different classes.
    """
    distinct = [row for row, same in enumerate(columns.same) if row == same]
    files = columns.cells[file]
    if len(distinct) < _ROWS_A_LISTENER * len({files[row] for row in distinct}):
        repeated = [
            f"line {columns.lines[row]} like line {columns.lines[same]}"
            for row, same in enumerate(columns.same)
            if row != same
        ]
        if repeated:
            columns.comments["path"] = repeated_rows(repeated)
        columns.cells = {name: [cells[row] for row in distinct] for name, cells in columns.cells.items()}
        columns.lines = [columns.lines[row] for row in distinct]
        return
    _check_times(columns, file)
    listener = _listener_column(columns, file, distinct)
    rows = [
        row for row in (range(columns.rows) if listener is None else distinct) if not is_missing(files[row])
    ]
    tracks: dict[str, list[int]] = defaultdict(list)
    of_listeners: dict[str, list[int]] = defaultdict(list)
    for row in rows:
        tracks[files[row]].append(row)
        if listener is not None:
            of_listeners[columns.cells[listener][row]].append(row)
    joined: dict[str, list[str]] = {}
    for name, cells in columns.cells.items():
        every = columns.every[name] = [cells[row] for row in rows]
        present = [_first_rows(cells, of_track) for of_track in tracks.values()]
        different = [first_rows for first_rows in present if len(first_rows) > 1]
        if not different or name == listener:
            joined[name] = [next(iter(first_rows), "") for first_rows in present]
            continue
        guess = guess_ratings(name, every, columns.decimal)
        if why := _not_rated(cells, of_listeners.values()):
            columns.left_out[name] = why
        elif guess.kind == "regression" or guess.unreadable:
            columns.rated.add(name)
            joined[name] = [
                _mean([cells[row] for row in of_track], columns.decimal) for of_track in tracks.values()
            ]
        else:
            one, other = list(different[0])[:2]
            first, second = different[0][one], different[0][other]
            columns.left_out[name] = (
                f"differs within {len(different)} of {len(tracks)} tracks, for example {one!r} in line "
                f"{columns.lines[first]} and {other!r} in line {columns.lines[second]}"
            )
            classes = guess_column(name, every, columns.decimal).kind == "classification"
            if classes and len(different) <= _MISTAKES * len(tracks) and not tasks:
                raise InputError(
                    f"{columns.path}: column {name!r} {columns.left_out[name]}. If it has classes, write the same in "
                    "all rows of a track; otherwise, name the columns to learn with --task"
                )
    columns.listener = listener or True
    columns.cells, columns.lines = joined, [columns.lines[of_track[0]] for of_track in tracks.values()]
    counts = sorted(map(len, tracks.values()))
    each = f"{counts[0]}" if counts[0] == counts[-1] else f"{counts[0]} to {counts[-1]}"
    of = f" of {len(of_listeners)} listeners" if listener else ""
    remark = f"{len(rows):,} rows{of}: {len(tracks)} track{'s' if len(tracks) > 1 else ''}, {each} ratings each"
    columns.comments["listener"] = f"{remark}. The rating of a track is the mean over its listeners"
    columns.remarks.append(
        remark
        if listener
        else f"{remark}. Every row is taken for another listener, because no column names the listener"
    )


def _check_times(columns: _Columns, file: str) -> None:
    """Raise an `InputError` if a column has the times of ratings over time, which rise from row to row of a track."""
    files = columns.cells[file]
    for name, cells in columns.cells.items():
        if not is_time(name):
            continue
        times = [number(cell, columns.decimal) for cell in cells]
        steps = [
            second - first
            for (first, second), (one, other) in zip(pairwise(times), pairwise(files), strict=True)
            if one == other and first is not None and second is not None
        ]
        if steps and sum(step > 0 for step in steps) > _RISING * len(steps):
            raise InputError(
                f"{columns.path}: column {name!r} has times, so the table has a row for each time of a track. Ratings "
                "over time need a second table, with one row per track: set dataset.path to that table, "
                f'dataset.series = "{columns.path.name}" and dataset.series_time = "{name}"'
            )


def _listener_column(columns: _Columns, file: str, rows: Sequence[int]) -> str | None:
    """Return the column of the listeners, who differ within each track and recur in others; None without one.

    A column without the name of one needs evidence: if its cells were independent of the tracks, at least
    `_COINCIDENCES` pairs of rows of one track would have the same cell.
    """
    files = columns.cells[file]
    per_track = Counter(files[row] for row in rows)
    candidates: list[tuple[bool, int, str]] = []
    for name, cells in columns.cells.items():
        if name == file or is_time(name):
            continue
        counts = Counter(cells[row] for row in rows)
        unique = len({(files[row], cells[row]) for row in rows}) / len(rows)
        if is_listener(name) and unique > _UNIQUE:
            candidates.append((False, len(counts), name))
        elif unique == 1.0 and not any(map(is_missing, counts)) and not any(map(_is_fraction, counts)):
            alike = sum(count**2 for count in counts.values()) / len(rows) ** 2
            if sum(count * (count - 1) / 2 for count in per_track.values()) * alike >= _COINCIDENCES:
                candidates.append((True, len(counts), name))
    return min(candidates)[2] if candidates else None


def _first_rows(cells: Sequence[str], rows: Iterable[int]) -> dict[str, int]:
    """Return the different cells of some rows that are not missing, each with its first row."""
    first: dict[str, int] = {}
    for row in rows:
        if not is_missing(cells[row]):
            first.setdefault(cells[row], row)
    return first


def _is_fraction(cell: str) -> bool:
    value = number(cell.replace(",", "."))
    return value is not None and not value.is_integer()


def _not_rated(cells: Sequence[str], of_listeners: Collection[Sequence[int]]) -> str | None:
    """Return why a column has no ratings: it is the same in all rows of a listener, or numbers them; None if it has."""
    several = [[cells[row] for row in rows] for rows in of_listeners if len(rows) > 2]
    if len(several) < 2:
        return None
    if all(len(set(of_listener)) == 1 for of_listener in several):
        return "describes the listeners"
    if all(len(set(of_listener)) == len(of_listener) for of_listener in several):
        numbers = [[number(cell) for cell in of_listener] for of_listener in several]
        ranges = [sorted(value for value in values if value is not None) for values in numbers]
        if all(
            len(values) == len(of_listener) == values[-1] - values[0] + 1
            for values, of_listener in zip(ranges, several, strict=True)
            if values
        ) and all(ranges):
            return "numbers the rows of each listener"
    return None


def _mean(cells: Sequence[str], decimal: str) -> str:
    """Return the mean of the numbers in cells, as a cell; empty without any."""
    numbers = [value for cell in cells if (value := number(cell, decimal)) is not None]
    return str(sum(numbers) / len(numbers)).replace(".", decimal) if numbers else ""


def _same_numbers(cells: Sequence[str], others: Sequence[str], decimal: str) -> bool:
    """Return whether two columns have the same numbers, up to rounding to one decimal place."""
    pairs = [(number(one, decimal), number(other, decimal)) for one, other in zip(cells, others, strict=True)]
    both = [(one, other) for one, other in pairs if one is not None and other is not None]
    return 2 * len(both) > len(cells) and all(abs(one - other) <= _ROUNDING for one, other in both)


def _join_columns(columns: _Columns) -> None:
    """Replace columns with the ratings of single listeners, such as valence_p01 and valence_p02, by their means."""
    families: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
    for name in columns.cells:
        if numbered := _NUMBERED.fullmatch(name):
            families[numbered[1], numbered[3]][numbered[2]] = name
    sets = Counter(frozenset(members) for members in families.values())
    joined: list[str] = []
    for (before, after), members in families.items():
        stem = listener_stem(before, after)
        several = len(members) > 2 and sets[frozenset(members)] > 1
        if len(members) < 2 or not (stem or several):
            continue
        cells = {name: columns.cells[name] for name in members.values()}
        every = [cell for of_column in cells.values() for cell in of_column]
        guess = guess_ratings(stem or before, every, columns.decimal)
        values = [value for cell in every if (value := number(cell, columns.decimal)) is not None]
        pattern = f"{before}*{after}"
        others = [name for name in columns.cells if matches(pattern, name) and name not in cells]
        whole = stem or all(value.is_integer() for value in values)
        if guess.kind != "regression" or guess.on_request or not whole or others:
            continue
        target = stem or re.sub(r"[\W_]+$|^[\W_]+", "", before + after)
        for name in cells:
            del columns.cells[name]
        if target in columns.cells:
            columns.left_out[target] = f"would have the same task name as the mean of {pattern!r}"
        means = [_mean(row, columns.decimal) for row in zip(*cells.values(), strict=True)]
        for name in [name for name in columns.cells if name not in columns.rated]:
            if not _same_numbers(columns.cells[name], means, columns.decimal):
                continue
            columns.left_out[name] = f"is the mean of {pattern!r}"
            del columns.cells[name]
        columns.cells[target] = means
        columns.rated.add(target)
        columns.every[target], columns.patterns[target] = every, pattern
        joined.append(f"{pattern!r} ({len(cells)})")
    if joined:
        more = f" and {len(joined) - _LISTED} more" if len(joined) > _LISTED else ""
        columns.comments["columns"] = "* is any text: the rating of a track is the mean of these columns"
        columns.remarks.append(
            f"the columns {', '.join(joined[:_LISTED])}{more} are read as the ratings of single listeners, whose mean "
            "is learned"
        )


def _first(columns: _Columns, suits: Any) -> str | None:
    return next((name for name, cells in columns.cells.items() if suits(name, cells)), None)


def _group(
    columns: _Columns, taken: Collection[str | bool | None], tasks: Collection[str]
) -> tuple[str | None, str]:
    """Return the column of artists, albums or other groups; if its name does not show it, with the reason.

    Among several columns that the cells show, it is the one with the fewest groups, which contain those of the others.
    """
    cells = {
        name: cells
        for name, cells in columns.cells.items()
        if name not in taken and target_name(name) not in tasks and 1 < len(set(cells)) < len(cells)
    }
    if named := next((name for name in cells if is_group(name)), None):
        return named, ""
    classes = {
        name: values
        for name, values in cells.items()
        if guess_column(name, values, columns.decimal).kind == "classification"
    }
    reasons = {}
    for name, values in cells.items():
        others = [other for key, other in classes.items() if key != name]
        if len(set(values) - {""}) > 1 and (why := group_reason(values, others)):
            reasons[name] = why
    if not reasons:
        return None, ""
    name = min(reasons, key=lambda name: len(set(cells[name])))
    return name, reasons[name]


def _targets(
    columns: _Columns, taken: Collection[str | bool | None], tasks: Collection[str]
) -> tuple[dict[str, Guess], dict[str, Guess]]:
    """Return the columns to learn, ratings first, and other columns that can be targets.

    Raises:
        InputError: No column can be a target, or most ratings cannot be read.
    """
    targets: dict[str, Guess] = {}
    unreadable: dict[str, str] = {}
    for name, cells in columns.cells.items():
        if name in taken:
            continue
        if name in columns.rated:
            guess = guess_ratings(name, columns.every[name], columns.decimal)
        else:
            guess = guess_column(name, cells, columns.decimal)
        if guess.unreadable:
            unreadable[name] = guess.why
        asked = target_name(name) in tasks
        if guess.kind is None or (guess.on_request and not asked):
            option = f"; --task {target_name(name)} learns it" if guess.on_request else ""
            columns.left_out[name] = f"{guess.why}{option}"
        elif is_group(name) and not asked:
            columns.left_out[name] = "contains names of artists or other groups"
        else:
            targets[name] = guess
    ratings = [name for name, guess in targets.items() if guess.kind == "regression"]
    if len(unreadable) > len(ratings) and not tasks:
        names = [target_name(name) for name in targets]
        options = " ".join(f"--task {name}" for name in names[:_LISTED])
        otherwise = (
            f" Without them, only {', '.join(names)} would be learned; if you want that, add {options}"
            if names
            else ""
        )
        raise InputError(
            f"{columns.path}: {len(unreadable)} of {len(unreadable) + len(ratings)} columns with numbers cannot be "
            f"read.{otherwise}",
            *_notes(unreadable),
        )
    if not targets:
        reasons = "".join(f"\n  {note}" for note in _notes(columns.left_out)) or " there is no other column"
        raise InputError(f"{columns.path}: no column can be a target:{reasons}")
    _drop_clashes(columns, targets)
    targets = joint_scales(targets)
    ratings = [name for name in targets if targets[name].kind == "regression"]
    learned = dict.fromkeys([*ratings, *targets])
    if len(ratings) > _MOST_TARGETS:
        telling = [name for name in targets if _TELLING.search(name.casefold())]
        learned = dict.fromkeys(telling[:_MOST_TARGETS])
    requested = [name for name in targets if target_name(name) in tasks]
    order = list(dict.fromkeys([*requested, *learned, *targets]))
    for name in order[_MOST_TARGETS:]:
        columns.left_out[name] = f"is one of {len(order)} possible targets; --task NAME learns it"
    kept = order[:_MOST_TARGETS]
    if not learned and not tasks:
        raise InputError(
            f"{columns.path}: has {len(ratings)} columns of numbers, which are probably features. Name the ratings "
            f"with --task, for example --task {target_name(ratings[0])}"
        )
    return (
        {name: targets[name] for name in kept if name in learned},
        {name: targets[name] for name in kept if name not in learned},
    )


def _drop_clashes(columns: _Columns, targets: dict[str, Guess]) -> None:
    """Drop columns of tags with another separator than the first, and columns with the task name of another."""
    separators = [guess.separator for guess in targets.values() if guess.kind == "tags"]
    for name, guess in list(targets.items()):
        if guess.kind == "tags" and guess.separator != separators[0]:
            columns.left_out[name] = (
                f"separates its tags by {guess.separator!r}, another column by {separators[0]!r}"
            )
            del targets[name]
    names: dict[str, str] = {}
    for name in list(targets):
        other = names.setdefault(target_name(name), name)
        if other != name:
            columns.left_out[name] = f"would have the same task name as {other!r}"
            del targets[name]


def _tracks(
    columns: _Columns,
    file: _FileColumn,
    identity: str,
    group: str | None,
    part: str | None,
    guesses: dict[str, Guess],
) -> Iterator[Track]:
    cells = columns.cells
    for row in range(columns.rows):
        targets: dict[str, Label | None] = {}
        for name, guess in guesses.items():
            cell = _known(cells[name][row])
            rated = cell and guess.kind == "regression"
            if cell and guess.kind == "tags":
                targets[target_name(name)] = split_tags(cell, guess.separator)
                continue
            targets[target_name(name)] = number(cell, columns.decimal) if cell and rated else cell
        official: Any = _known(cells[part][row]) if part else None
        cell = cells[file.name][row]
        path = file.paths.get(cell, file.root / cell)
        yield Track(
            cells[identity][row],
            None if file.audio else path,
            targets,
            audio=path if file.audio else None,
            group=_known(cells[group][row]) if group else None,
            part={"validation": "val"}.get(official, official),
        )


def _known(cell: str) -> str | None:
    return None if is_missing(cell) else cell


def _target(name: str, guess: Guess) -> Target:
    if guess.kind == "regression":
        return Target(name, "regression", range=guess.range)
    return Target(name, guess.kind or "classification", classes=tuple(sorted(guess.classes or ())))


def _by_class(folder: Path) -> Proposal | None:
    """Return the proposal for a folder with a subfolder of songs per class, including a table of the songs."""
    songs = {
        path.relative_to(folder).as_posix(): path.parent.name
        for path in sorted(folder.glob("*/*"))
        if suffix_of(path.name) and path.is_file()
        if not is_companion(path.name) and not is_companion(path.parent.name)
    }
    kinds = {suffix_of(song) in ARRAY_SUFFIXES for song in songs}
    guess = guess_column(_CLASS, list(songs.values())) if songs else Guess(None)
    if guess.kind is None or len(kinds) > 1:
        return None
    (features,) = kinds
    form = array_form([folder / song for song in songs]) if features else ArrayForm()
    table = Path(f"{folder.resolve().name}.csv")
    parameters: dict[str, Any] = {"path": table, "id": "file", ("file" if features else "audio"): "file"}
    return Proposal(
        {**parameters, "root": folder, "classification": [_CLASS], **form.dataset},
        [
            Track(
                song,
                folder / song if features else None,
                {_CLASS: _known(name)},
                audio=folder / song if not features else None,
            )
            for song, name in songs.items()
        ],
        [_target(_CLASS, guess)],
        comments={"classification": f"subfolders of {folder}"},
        remarks=[form.remark] if form.remark else [],
        features=form.features,
        files={table: csv_text([("file", _CLASS), *songs.items()])},
        general=True,
    )
