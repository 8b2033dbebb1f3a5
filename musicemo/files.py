"""Write files so that a reader never sees half of one; the one CSV dialect of musicemo's files."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from musicemo.errors import RunError

__all__ = [
    "csv_line",
    "csv_text",
    "plain_cell",
    "read_csv",
    "read_json",
    "write_atomically",
    "write_bytes",
    "write_json",
    "write_text",
]

#: Spreadsheets execute a cell that begins with one of these, or with its full-width form, as a formula.
_FORMULA = (*"=+-@\t\r\n", *(chr(ord(sign) + 0xFEE0) for sign in "=+-@"))
_NUMBER = re.compile(r"[+-]?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|inf|nan)")
_QUOTED = re.compile(r'[,"\r\n]')


def write_atomically(path: Path, write: Callable[[BinaryIO], None]) -> None:
    """Let `write` fill a temporary file beside `path`, then put it in `path`'s place.

    Raises:
        RunError: the file cannot be written (a full disk, a folder without permission); `path` is untouched.
    """
    temporary = None
    try:
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(descriptor, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())  # noqa: PTH101  # mkstemp's 0600 would hide results from others
        os.replace(temporary, path)  # noqa: PTH105  # both are names of one folder
    except OSError as error:
        raise RunError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        if temporary is not None:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)  # noqa: PTH108  # a name from mkstemp


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_bytes(path: Path, content: bytes) -> None:
    """Write bytes atomically."""
    write_atomically(path, lambda file: _write(file, content))


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically; a value that is not finite is an error, since JSON has no name for it.

    A file name that is not valid UTF-8 stands there as escapes, and comes back as it was.
    """
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    if not text.isascii() and any("\ud800" <= char <= "\udfff" for char in text):
        text = json.dumps(value, indent=2, allow_nan=False)
    write_text(path, text + "\n")


def read_json(path: Path) -> Any:
    """Read JSON in UTF-8."""
    return json.loads(path.read_text(encoding="utf-8"))


def csv_line(cells: Iterable[object]) -> str:
    """Return a line of a CSV file, with its line feed.

    Text that a spreadsheet would execute as a formula (it begins with ``=``, ``+``, ``-``, ``@``, a tab or a line
    break, and is not a number) gets a leading apostrophe, which `read_csv` removes. A cell with a comma, a quote or a
    line break stands in quotes.
    """
    return (",".join(_csv_cell(str(cell)) for cell in cells) or '""') + "\n"  # an empty line is no row


def csv_text(rows: Iterable[Iterable[object]]) -> str:
    """Return the rows as CSV; see `csv_line`."""
    return "".join(map(csv_line, rows))


def plain_cell(cell: str) -> str:
    """Return a cell of a CSV file without the apostrophe that `csv_line` put before a formula."""
    return cell[1:] if cell.startswith("'") and cell.lstrip("'").startswith(_FORMULA) else cell


def read_csv(path: Path) -> Iterator[dict[str, str]]:
    """Yield the rows of a CSV file in UTF-8 that `csv_line` wrote, as column -> cell.

    Raises:
        OSError: The file cannot be read.
        ValueError: The file is not UTF-8, not CSV, or a row has another number of cells than the header.
    """
    with path.open(newline="", encoding="utf-8") as file:
        rows = csv.reader(file, strict=True)
        try:
            header: Sequence[str] = [plain_cell(cell) for cell in next(rows, [])]
            for row in rows:
                if len(row) != len(header):
                    raise ValueError(f"line {rows.line_num}: expected {len(header)} cells, got {len(row)}")
                yield dict(zip(header, map(plain_cell, row), strict=True))
        except csv.Error as error:
            raise ValueError(f"line {rows.line_num}: {error}") from error


def _csv_cell(text: str) -> str:
    if text.lstrip("'").startswith(_FORMULA) and not _NUMBER.fullmatch(text):
        text = f"'{text}"
    return '"' + text.replace('"', '""') + '"' if _QUOTED.search(text) else text


def _write(file: BinaryIO, content: bytes) -> None:
    file.write(content)
