"""`history.jsonl`: everything recorded, a line an epoch; a value that is not defined is null."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from musicemo.errors import InputError, RunError
from musicemo.files import write_text

__all__ = ["append_history", "check_history", "count_history", "read_history", "write_history"]


def write_history(path: Path, history: Sequence[Mapping[str, float]]) -> None:
    """Write the records so far; what was appended after them by a process that was killed is dropped.

    Raises:
        RunError: the file cannot be written.
    """
    write_text(path, "".join(_line(record) for record in history))


def append_history(path: Path, record: Mapping[str, float]) -> None:
    """Append the record of an epoch, before the epoch's checkpoint is written.

    Raises:
        RunError: the file cannot be written.
    """
    try:
        with path.open("ab") as file:
            file.write(_line(record).encode())
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise RunError(f"{path}: cannot be written: {error.strerror or error}") from error


def read_history(path: Path, epochs: int) -> list[dict[str, float]]:
    """Return the records of the first epochs; later lines are not looked at.

    Raises:
        InputError: the file is missing, or a line is not the record of its epoch.
    """
    try:
        lines = path.read_bytes().splitlines()[:epochs]
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error

    def record(line: bytes) -> Any:
        try:
            return json.loads(line)
        except (ValueError, RecursionError):
            return None

    return check_history([record(line) for line in lines], epochs, path)


def count_history(path: Path) -> int:
    """Return the number of lines; 0 if the file cannot be read."""
    try:
        return path.read_bytes().count(b"\n")
    except OSError:
        return 0


def check_history(records: Any, epochs: int, path: Path) -> list[dict[str, float]]:
    """Return the records of all epochs, null being NaN.

    Raises:
        InputError: they are not one of each epoch; the message names the file.
    """
    entries = list(records) if isinstance(records, list) else []
    for number, record in enumerate(entries, start=1):
        if not _is_record(record, number):
            raise InputError(f"{path}: line {number} of the history is not the record of epoch {number}")
    if len(entries) != epochs:
        raise InputError(f"{path}: the history has {len(entries)} of {epochs} epochs")
    return [
        {name: math.nan if number is None else number for name, number in record.items()} for record in entries
    ]


def _line(record: Mapping[str, float]) -> str:
    defined = {name: value if math.isfinite(value) else None for name, value in record.items()}
    return json.dumps(defined) + "\n"


def _is_record(value: Any, epoch: int) -> bool:
    return (
        isinstance(value, dict)
        and value.get("epoch") == epoch
        and all(
            number is None or (isinstance(number, int | float) and not isinstance(number, bool))
            for number in value.values()
        )
    )
