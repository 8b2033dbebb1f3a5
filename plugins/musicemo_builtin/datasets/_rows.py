"""Read delimited text so that every value can be traced to its file and line."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path

from musicemo.errors import InputError

__all__ = ["Rows", "parse_number", "read_rows"]

Rows = list[tuple[int, list[str]]]


def read_rows(path: Path, delimiter: str | None = None, *, strict: bool = True) -> Rows:
    """Return every row that is not blank as its line number and its cells, stripped of surrounding space.

    Args:
        path: Text in UTF-8, with or without a byte order mark.
        delimiter: What stands between cells. None: a tab in a `.tsv` file, otherwise whichever of comma,
            semicolon and tab is most frequent in the first line.
        strict: Whether text that is not UTF-8 and quotes in odd places are errors; otherwise they are read as well
            as can be.

    Raises:
        InputError: The file is missing, unreadable, not UTF-8, not delimited text, or has no row.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig", "strict" if strict else "replace")
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise InputError(f"{path}:{line}: is not UTF-8 text; save the file in UTF-8") from None
    lines = list(io.StringIO(text, newline=""))
    if not any(line.strip() for line in lines):
        raise InputError(f"{path}: is empty, expected a header and one row a track")
    if delimiter is None:
        delimiter = "\t" if path.suffix.lower() == ".tsv" else max(",;\t", key=lines[0].count)
    reader = csv.reader(lines, delimiter=delimiter, strict=strict)
    rows: Rows = []
    start = 1
    try:
        for row in reader:
            cells = [cell.strip() for cell in row]
            if any(cells):
                rows.append((start, cells))
            start = reader.line_num + 1
    except csv.Error as error:
        raise InputError(f"{path}:{start}: malformed row ({error})") from None
    return rows


def parse_number(text: str, low: float, high: float) -> float:
    """Return the number that `text` spells.

    Raises:
        ValueError: It spells none, or one that is not finite or not within [low, high].
    """
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a number") from None
    if not math.isfinite(value):
        raise ValueError(f"{text!r} is not a finite number")
    if not low <= value <= high:
        raise ValueError(f"{text} is outside [{low:g}, {high:g}]")
    return value
