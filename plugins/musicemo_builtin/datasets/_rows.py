"""Reader of tables: delimited text, Excel workbooks and Parquet files, with the line of every value."""

from __future__ import annotations

import codecs
import contextlib
import csv
import io
import itertools
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from musicemo.errors import InputError
from musicemo.files import plain_cell
from musicemo_builtin.datasets._workbook import Rows, read_parquet, read_workbook

__all__ = ["TABLES", "Rows", "encoding_of", "long_cells", "read_rows"]

#: Suffixes of tables, those of text first.
TABLES = (".csv", ".tsv", ".xlsx", ".xlsm", ".parquet")
#: Suffixes of spreadsheets that no reader here supports.
_UNSUPPORTED = (".xls", ".xlsb", ".ods", ".numbers")
#: Encodings in which spreadsheet programs save text that is not Unicode: in Windows of western Europe and America.
_LEGACY = "windows-1252"

_DELIMITERS = ",;\t"
#: Excel's first line that names the delimiter.
_SEP = re.compile(r'"?sep=(.)"?[,;\t]*\s*', re.IGNORECASE)
#: Byte order mark -> encoding, the longer marks first.
_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_LONGEST_CELL = 2**31 - 1
#: Number of lines that decide on the delimiter.
_SAMPLE = 50


def read_rows(
    path: Path,
    delimiter: str | None = None,
    *,
    strict: bool = True,
    encoding: str | None = None,
    sheet: str | None = None,
) -> Rows:
    """Return every row that is not blank as its line number and its cells, stripped of surrounding space.

    Empty cells beyond the header's last name are dropped. The apostrophe that `musicemo.files.csv_line` puts before a
    formula is removed.

    Args:
        path: Text in UTF-8, or in UTF-16 or UTF-32 with a byte order mark; or a workbook (`.xlsx`, `.xlsm`), or a
            Parquet file.
        delimiter: The character between cells. None: that of a first line such as ``sep=;``; otherwise the comma,
            semicolon or tab that splits the rows into as many cells as the header.
        strict: Whether text that is not UTF-8 and quotes in odd places are errors; otherwise they are read as well
            as can be.
        encoding: Encoding of text without a byte order mark; by default UTF-8.
        sheet: Sheet of a workbook; by default the only one that is not empty.

    Raises:
        InputError: The file is missing, unreadable, not UTF-8, not a table, or has no row.
    """
    suffix = path.suffix.lower()
    if suffix in _UNSUPPORTED:
        raise InputError(f"{path}: {suffix} files are not supported. Save the table as .xlsx or .csv")
    if suffix in (".xlsx", ".xlsm"):
        return _without_blanks(path, read_workbook(path, sheet))
    if sheet is not None:
        raise InputError(f"{path}: sheet = {sheet!r} requires a workbook (.xlsx, .xlsm)")
    if suffix == ".parquet":
        return _without_blanks(path, read_parquet(path))
    lines = io.StringIO(
        _decoded(path, strict=strict, encoding=encoding), newline=""
    )  # not a list: that of a million lines is large
    first, sample = 0, list(itertools.islice(lines, 1))
    while sample and not sample[0].strip():
        first, sample = first + 1, list(itertools.islice(lines, 1))
    if not sample:
        raise InputError(f"{path}: is empty (expected a header and at least one row)")
    if delimiter is None:
        if named := _SEP.fullmatch(sample[0]):
            delimiter, first, sample = named[1], first + 1, []
        else:
            sample += itertools.islice(lines, _SAMPLE - 1)
            tabs = path.suffix.lower() == ".tsv" and "\t" in sample[0]
            delimiter = "\t" if tabs else _delimiter(sample)
    reader = csv.reader(itertools.chain(sample, lines), delimiter=delimiter, strict=strict)

    def read() -> Iterator[tuple[int, list[str]]]:
        start = first + 1
        try:
            with long_cells():
                for row in reader:
                    yield start, row
                    start = first + reader.line_num + 1
        except csv.Error as error:
            raise InputError(f"{path}:{start}: malformed row ({error})") from None

    return _without_blanks(path, read())


def _without_blanks(path: Path, rows: Iterable[tuple[int, list[str]]]) -> Rows:
    kept: Rows = []
    header: list[str] = []
    sample: list[list[str]] = []
    for line, row in rows:
        cells = [plain_cell(cell.strip()) for cell in row]
        if any(cells):
            if header and len(sample) < _SAMPLE:
                sample.append(cells)
            header = header or cells
            kept.append((line, _trimmed(cells, header)))
    if not kept:
        raise InputError(f"{path}: is empty (expected a header and at least one row)")
    named, unnamed = sum(map(bool, header)), _unnamed(header, sample)
    if unnamed > 1 and unnamed >= named:
        raise InputError(
            f"{path}:{kept[0][0]}: the first row has names for {named} of {named + unnamed} columns, but it must be "
            "the header: delete titles and further lines above it"
        )
    return kept


def _unnamed(header: Sequence[str], rows: Sequence[Sequence[str]]) -> int:
    """Return the number of columns that have a cell in most rows, but no name."""
    counts = Counter(place for row in rows for place, cell in enumerate(row) if cell)
    return sum(
        2 * count > len(rows) and not (place < len(header) and header[place]) for place, count in counts.items()
    )


@contextlib.contextmanager
def long_cells() -> Iterator[None]:
    """Let the csv module read cells of any length, such as lyrics and biographies, inside."""
    limit = csv.field_size_limit(_LONGEST_CELL)
    try:
        yield
    finally:
        csv.field_size_limit(limit)


def encoding_of(path: Path) -> str | None:
    """Return the encoding to read text in; None for UTF-8, for a byte order mark, and for a file that is not text."""
    if path.suffix.lower() in TABLES[2:]:
        return None
    content = _content(path)
    if any(content.startswith(mark) for mark in _MARKS):
        return None
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        with contextlib.suppress(UnicodeDecodeError):
            content.decode(_LEGACY)
            return None if b"\0" in content else _LEGACY
    return None


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None


def _decoded(path: Path, *, strict: bool, encoding: str | None) -> str:
    content = _content(path)
    encoding = next((name for mark, name in _MARKS.items() if content.startswith(mark)), encoding or "utf-8")
    try:
        text = content.decode(encoding, "strict" if strict else "replace")
    except LookupError:
        raise InputError(f"{path}: encoding = {encoding!r} is not an encoding, such as {_LEGACY!r}") from None
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        if encoding.startswith("utf-8"):
            raise InputError(
                f"{path}:{line}: is not UTF-8 text (byte 0x{content[error.start]:02X}). Save it in UTF-8, or set "
                f'encoding = "{_LEGACY}" if it is from Windows'
            ) from None
        raise InputError(
            f"{path}: is damaged {encoding.upper()} text ({error.reason}); save it in UTF-8"
        ) from None
    if strict and "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise InputError(
            f"{path}:{line}: contains NUL characters, so it is not UTF-8 text (UTF-16 without a byte order mark?); "
            "save it in UTF-8"
        )
    return text


def _delimiter(lines: Sequence[str]) -> str:
    """Return the delimiter that splits most rows into as many cells as the header, and the header into most."""

    def fit(delimiter: str) -> tuple[float, int]:
        with long_cells():
            reader = csv.reader(lines, delimiter=delimiter)
            header, *others = [len(row) for row in reader if any(map(str.strip, row))]
        same = sum(count == header for count in others) / len(others) if others else 1.0
        return (same if header > 1 else 0.0, header)

    try:
        return max(_DELIMITERS, key=fit)
    except csv.Error:
        return max(_DELIMITERS, key=lines[0].count)


def _trimmed(cells: list[str], header: Sequence[str]) -> list[str]:
    """Return a row without the unnamed cells at its end: those below an empty header, and empty ones beyond it."""
    named = len(header)
    while named and not header[named - 1]:
        named -= 1
    return cells if len(cells) == named or any(cells[len(header) :]) else cells[:named]
