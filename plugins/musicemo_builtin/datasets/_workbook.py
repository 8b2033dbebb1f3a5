"""Reader of Excel workbooks and Parquet files, whose cells become the text that a CSV file would have."""

from __future__ import annotations

import datetime
import warnings
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from musicemo.errors import InputError, nearest

__all__ = ["Rows", "read_parquet", "read_workbook", "sheets_of"]

#: Line number and cells of each row.
Rows = list[tuple[int, list[str]]]


def sheets_of(path: Path) -> list[str]:
    """Return the names of a workbook's sheets that are not empty.

    Raises:
        InputError: The file cannot be read, or openpyxl is not installed.
    """
    book = _open(path)
    try:
        return [sheet.title for sheet in book.worksheets if _has_rows(sheet)]
    finally:
        book.close()


def read_workbook(path: Path, sheet: str | None = None) -> Rows:
    """Return the rows of a sheet. A formula has the value that the spreadsheet program computed last.

    Args:
        path: The workbook.
        sheet: Name of the sheet; by default the only one that is not empty.

    Raises:
        InputError: The file cannot be read, has no such sheet or several, or openpyxl is not installed.
    """
    book = _open(path)
    try:
        names = [one.title for one in book.worksheets]
        if sheet is None:
            names = [one.title for one in book.worksheets if _has_rows(one)]
            if len(names) > 1:
                raise InputError(
                    f"{path}: has several sheets ({', '.join(names)}). Choose one with sheet = {names[0]!r}"
                )
            if not names:
                return []
            sheet = names[0]
        elif sheet not in names:
            raise InputError(
                f"{path}: has no sheet {sheet!r}{nearest(sheet, names)} (sheets: {', '.join(names)})"
            )
        rows = list(enumerate(book[sheet].iter_rows(values_only=True), start=1))
    finally:
        book.close()
    if any(cell is None for _, row in rows for cell in row):
        rows = _with_empty_cells(path, sheet, rows)
    return [(line, [_text(cell) for cell in row]) for line, row in rows]


def _with_empty_cells(
    path: Path, sheet: str, rows: Sequence[tuple[int, Sequence[Any]]]
) -> list[tuple[int, Sequence[Any]]]:
    """Return the rows with the cells that only seem empty: each row of cells that are merged has their value.

    Raises:
        InputError: A cell seems empty because its formula was never computed.
    """
    book = _open(path, values=False, complete=True)
    try:
        filled = [(line, list(row)) for line, row in rows]
        for merged in book[sheet].merged_cells.ranges:
            for line in range(merged.min_row, min(merged.max_row, len(filled))):
                filled[line][1][merged.min_col - 1] = filled[merged.min_row - 1][1][merged.min_col - 1]
        for (line, row), formulas in zip(filled, book[sheet].iter_rows(values_only=True), strict=True):
            for cell, formula in zip(row, formulas, strict=True):
                if cell is None and formula is not None:
                    raise InputError(
                        f"{path}:{line}: the formula {str(formula)!r} has no computed value. Open the workbook in a "
                        "spreadsheet program and save it"
                    )
    finally:
        book.close()
    return [(line, tuple(row)) for line, row in filled]


def read_parquet(path: Path) -> Rows:
    """Return the rows of a Parquet file; its column names are line 1. Lists of texts are joined by semicolons.

    Raises:
        InputError: The file cannot be read, or pyarrow is not installed.
    """
    try:
        from pyarrow import ArrowException, parquet, types
    except ImportError:
        raise InputError(f"{path}: Parquet files need pyarrow: pip install 'musicemo[tables]'") from None
    try:
        table = parquet.read_table(path)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (OSError, ArrowException) as error:
        raise InputError(f"{path}: is not a readable Parquet file ({error})") from None
    columns = []
    for column in table.columns:
        values = column.to_pylist()
        if types.is_float16(column.type) or types.is_float32(column.type):
            # as the shortest text of the narrower number: 6.4, not 6.400000095367432
            narrow = np.float16 if types.is_float16(column.type) else np.float32
            values = [None if value is None else str(narrow(value)) for value in values]
        columns.append([_text(value) for value in values])
    return [(1, list(table.column_names)), *enumerate(map(list, zip(*columns, strict=True)), start=2)]


def _open(path: Path, *, values: bool = True, complete: bool = False) -> Any:
    try:
        import openpyxl
    except ImportError:
        raise InputError(f"{path}: .xlsx files need openpyxl: pip install 'musicemo[tables]'") from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of styles and extensions, which are not read
            return openpyxl.load_workbook(path, read_only=not complete, data_only=values)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: is not a readable workbook ({error})") from None


def _has_rows(sheet: Any) -> bool:
    return any(cell is not None for row in sheet.iter_rows(values_only=True) for cell in row)


def _text(value: Any) -> str:
    """Return a cell's text: numbers with a decimal point, whole ones without, dates as in ISO 8601, 1 for true."""
    if value is None or value != value:  # NaN
        return ""
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    if isinstance(value, datetime.datetime) and value.time() == datetime.time():
        value = value.date()
    if isinstance(value, datetime.date):
        return value.isoformat()
    if isinstance(value, list | tuple):
        return ";".join(map(_text, value))
    return str(value)
