"""Proposals of `table` for a user's table or folder of songs, for ``musicemo init``."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from os.path import splitext
from pathlib import Path
from typing import Any

from musicemo.contracts import Label, Proposal, Target, Track
from musicemo.errors import InputError
from musicemo.files import csv_text
from musicemo_builtin.datasets._cells import is_missing
from musicemo_builtin.datasets._columns import (
    Guess,
    decimal_of,
    guess_column,
    is_group,
    is_id,
    is_part,
    number,
    split_tags,
    target_name,
)
from musicemo_builtin.datasets._layout import AUDIO_SUFFIXES, is_companion
from musicemo_builtin.datasets._rows import read_rows

__all__ = ["propose_table"]

_TABLES = (".csv", ".tsv")
_SUFFIXES = (*AUDIO_SUFFIXES, ".npy")
#: Number of rows whose files are looked up to detect the column of files.
_SAMPLE = 50
#: Minimum share of these files that must exist.
_THERE = 0.5
#: Maximum depth of folders to look for files in.
_DEPTH = 2
#: Maximum number of targets. A table with more numeric columns usually contains features.
_MOST_TARGETS = 24
#: Maximum number of columns listed by name for one reason.
_LISTED = 3
#: Maximum number of column names in a message.
_SHOWN = 30
#: Column names of preferred targets.
_TELLING = re.compile(
    "valence|arousal|energy|danceability|dominance|tension|happ|sad|ang(er|ry)|fear|tender|calm|power|joy|surprise"
    "|nostalgia|solemn|amaze|pleas|activation|mood|genre|style|quadrant|emotion"
)


def propose_table(path: Path) -> Proposal | None:
    """Return the proposal for a table, for the table in a folder, or for a folder with a subfolder of songs per class.

    Raises:
        InputError: There is a table but it cannot be used. The message gives the reason and a fix.
    """
    if path.is_file():
        return _of_table(path) if path.suffix.lower() in _TABLES else None
    tables = sorted(
        file for file in path.iterdir() if file.suffix.lower() in _TABLES and not is_companion(file.name)
    )
    proposals: list[Proposal] = []
    reasons: list[str] = []
    for table in tables:
        try:
            proposals.append(_of_table(table))
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
    return by_class


@dataclass
class _Columns:
    """A table's cells by column, its decimal separator, and the ignored columns with the reasons."""

    path: Path
    cells: dict[str, list[str]]
    left_out: dict[str, str] = field(default_factory=dict)
    decimal: str = "."

    @property
    def rows(self) -> int:
        return len(next(iter(self.cells.values())))


def _of_table(path: Path) -> Proposal:
    (_, header), *rows = read_rows(path)
    usable = [cells for _, cells in rows if len(cells) == len(header)]
    if not usable:
        raise InputError(f"{path}: has no tracks (expected a header, then one row per track)")
    columns = _Columns(path, {name: [row[at] for row in usable] for at, name in enumerate(header) if name})
    for name in [name for name, count in Counter(header).items() if count > 1 and name]:
        columns.left_out[name] = "appears more than once in the header"
        del columns.cells[name]
    columns.decimal = decimal_of(columns.cells.values())
    file, root = _file_column(columns)
    identity = _id_column(columns, file)
    group = _first(columns, lambda name, cells: is_group(name) and 1 < len(set(cells)) < len(cells))
    part = _first(columns, is_part)
    guesses = _targets(columns, {file, identity, group, part})
    audio = not _common_suffix(columns.cells[file]).endswith(".npy")
    names = {column: target_name(column) for column in guesses}
    parameters: dict[str, Any] = {"path": path, "id": identity, ("audio" if audio else "file"): file}
    comments = {"id": f"{len(set(columns.cells[identity]))} distinct values"}
    if root != path.parent:
        parameters["root"] = root
        comments["root"] = "folder that the file paths are relative to"
    used = [columns.cells[name] for name in (*guesses, group, part) if name]
    if markers := Counter(cell for cells in used for cell in cells if cell and is_missing(cell)):
        parameters["missing"] = sorted(markers)
        listed = ", ".join(f"{count} {cell!r}" for cell, count in sorted(markers.items()))
        comments["missing"] = f"cells that mark a missing value: {listed}"
    if columns.decimal == "," and any(guess.kind == "regression" for guess in guesses.values()):
        parameters["decimal"] = ","
        comments["decimal"] = "decimal separator of the ratings"
    ranges = {names[column]: guess for column, guess in guesses.items() if guess.kind == "regression"}
    classes = [names[column] for column, guess in guesses.items() if guess.kind == "classification"]
    tags = {names[column]: guess for column, guess in guesses.items() if guess.kind == "tags"}
    if ranges:
        parameters["regression"] = {name: [*guess.range] for name, guess in ranges.items()}
        reasons = "; ".join(f"{name} has {guess.why}" for name, guess in ranges.items())
        comments["regression"] = (
            f"the ends of the rating scales are guesses, replace them by the true ones: {reasons}"
        )
    if classes:
        parameters["classification"] = classes
    if tags:
        parameters["tags"] = list(tags)
        parameters["separator"] = next(iter(tags.values())).separator
        comments["tags"] = "; ".join(
            f"{name} has {len(guess.classes or ())} tags" for name, guess in tags.items()
        )
    if renamed := {name: column for column, name in names.items() if name != column}:
        parameters["columns"] = renamed
    for role, column in (("group", group), ("part", part)):
        if column:
            parameters[role] = column
            comments[role] = (
                f"{len(set(columns.cells[column]) - {''})} distinct values; a grouped split puts each in only one set"
                if role == "group"
                else "official split of the table"
            )
    targets = [_target(names[column], guess) for column, guess in guesses.items()]
    telling = [target for target in targets if _TELLING.search(target.name.casefold())] or targets
    tracks = list(_tracks(columns, root, file, identity, group, part, guesses, audio=audio))
    if audio and (
        absent := [track for track in tracks if track.audio and not Path(str(track.audio)).is_file()]
    ):
        parameters["on_error"] = "skip"
        comments["on_error"] = (
            f"{len(absent)} of {len(tracks)} files do not exist, for example {absent[0].audio}"
        )
        missing = {track.id for track in absent}
        tracks = [track for track in tracks if track.id not in missing]
    return Proposal(
        parameters,
        tracks,
        telling,
        others=[target for target in targets if target not in telling],
        comments=comments,
        notes=_notes(columns.left_out),
        general=True,
    )


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


def _file_column(columns: _Columns) -> tuple[str, Path]:
    """Return the column of the audio or feature files, and the folder that they are relative to."""
    folder = columns.path.parent
    named = {name: cells for name, cells in columns.cells.items() if _common_suffix(cells)}
    for root in (folder, *sorted(_folders(folder))):
        for name, cells in named.items():
            sample = [cell for cell in cells if not is_missing(cell)][:_SAMPLE]
            if sum((root / cell).is_file() for cell in sample) > _THERE * len(sample):
                return name, root
    kinds = ", ".join(_SUFFIXES)
    if named:
        name, cells = next(iter(named.items()))
        missing = next(cell for cell in cells if not is_missing(cell))
        raise InputError(
            f"{columns.path}: column {name!r} names files that do not exist, for example {missing!r} (searched "
            f"{folder} and its subfolders). Paths are relative to the table"
        )
    names = list(columns.cells)
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    listed = ", ".join(names[:_SHOWN]) + more
    raise InputError(
        f"{columns.path}: no column names audio or feature files ({kinds}). Columns: {listed}. Add a column "
        "with the path "
        "of each track's file, relative to the table"
    )


def _common_suffix(cells: Sequence[str]) -> str:
    """Return the suffix of the files that a column names, or "" if it does not name files."""
    endings: set[str] = set()
    for cell in cells:
        if not is_missing(cell):
            suffix = splitext(cell)[1].lower()  # noqa: PTH122  # a tenth of a Path's time, in each of many columns
            if suffix not in _SUFFIXES:
                return ""
            endings.add(suffix)
    one_kind = endings == {".npy"} or ".npy" not in endings
    return min(endings) if endings and one_kind else ""


def _folders(top: Path, depth: int = _DEPTH) -> Iterator[Path]:
    if not depth:
        return
    for path in top.iterdir():
        if path.is_dir() and not is_companion(path.name):
            yield path
            yield from _folders(path, depth - 1)


def _id_column(columns: _Columns, file: str) -> str:
    unique = [name for name, cells in columns.cells.items() if all(cells) and len(set(cells)) == len(cells)]
    if not unique:
        cells = columns.cells[file]
        twice, rows = Counter(cells).most_common(1)[0]
        raise InputError(
            f"{columns.path}: no column has a distinct value in every row; {twice!r} has {rows} rows. The "
            "table must have one "
            "row per track. If it has one row per listener, write the mean ratings into a table of tracks"
        )
    return next((name for name in unique if is_id(name)), file if file in unique else unique[0])


def _first(columns: _Columns, suits: Any) -> str | None:
    return next((name for name, cells in columns.cells.items() if suits(name, cells)), None)


def _targets(columns: _Columns, taken: set[str | None]) -> dict[str, Guess]:
    """Return the columns that can be targets, those with the name of an emotion first."""
    targets: dict[str, Guess] = {}
    for name, cells in columns.cells.items():
        if name in taken:
            continue
        guess = guess_column(name, cells, columns.decimal)
        if guess.kind is None:
            columns.left_out[name] = guess.why
        elif is_group(name):
            columns.left_out[name] = "contains names of artists or other groups"
        else:
            targets[name] = guess
    if not targets:
        reasons = "".join(f"\n  {note}" for note in _notes(columns.left_out)) or " there is no other column"
        raise InputError(f"{columns.path}: no column can be a target:{reasons}")
    telling = [name for name in targets if _TELLING.search(name.casefold())]
    order = [*telling, *(name for name in targets if name not in telling)]
    for name in order[_MOST_TARGETS:]:
        columns.left_out[name] = f"is one of {len(order)} possible targets"
    targets = {name: targets[name] for name in order[:_MOST_TARGETS]}
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
    return targets


def _tracks(
    columns: _Columns,
    root: Path,
    file: str,
    identity: str,
    group: str | None,
    part: str | None,
    guesses: dict[str, Guess],
    *,
    audio: bool,
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
        yield Track(
            cells[identity][row],
            None if audio else root / cells[file][row],
            targets,
            audio=root / cells[file][row] if audio else None,
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
        if path.suffix.lower() in _SUFFIXES and path.is_file()
        if not is_companion(path.name) and not is_companion(path.parent.name)
    }
    kinds = {Path(song).suffix.lower() == ".npy" for song in songs}
    guess = guess_column("class", list(songs.values())) if songs else Guess(None)
    if guess.kind is None or len(kinds) > 1:
        return None
    (features,) = kinds
    table = Path(f"{folder.resolve().name}.csv")
    parameters: dict[str, Any] = {"path": table, "id": "file", ("file" if features else "audio"): "file"}
    return Proposal(
        {**parameters, "root": folder, "classification": ["class"]},
        [
            Track(
                song,
                folder / song if features else None,
                {"class": _known(name)},
                audio=folder / song if not features else None,
            )
            for song, name in songs.items()
        ],
        [_target("class", guess)],
        comments={"classification": f"subfolders of {folder}"},
        files={table: csv_text([("file", "class"), *songs.items()])},
        general=True,
    )
