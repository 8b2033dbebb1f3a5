"""``musicemo cache``."""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from musicemo.cli._output import emit, emit_blocks
from musicemo.errors import InputError, RunError, nearest
from musicemo.files import read_json

__all__ = ["add_commands"]

#: Names of folders in the cache: `<dataset>/<name>-<16 hexadecimal digits>` or only the digits.
_OWN = re.compile(r"(.+-)?[0-9a-f]{16}")
_KILO = 1000.0


@dataclass(frozen=True)
class _Entry:
    """A folder in the cache. `source` is the file or folder that its features were computed from, if recorded."""

    name: str
    folder: Path
    files: int
    size: int
    source: str


def add_commands(app: typer.Typer) -> None:
    """Add ``cache``."""
    app.command()(cache)


def cache(
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", show_default=False, help="Dataset or listed folder. Default: all."),
    ] = None,
    clear: Annotated[bool, typer.Option("--clear", help="List the cached features and delete them.")] = False,
    path: Annotated[bool, typer.Option("--path", help="Print only the path of the cache.")] = False,
) -> None:
    """List or delete the cached features of datasets.

    Deleted features are computed again when they are needed. The environment variable MUSICEMO_CACHE sets the folder of
    the cache.
    """
    from musicemo.features import cache_folder

    top = cache_folder()
    if path:
        emit(f"{top}\n")
        return
    entries = _chosen(_entries(top), name)
    emit(f"{top}{'' if top.is_dir() else ' (empty)'}\n")
    _print(entries)
    if clear:
        for entry in entries:
            _remove(entry)
        emit(f"Removed {len(entries)} folder{'s' * (len(entries) != 1)}, {_readable(_total(entries))}.\n")


def _entries(top: Path) -> list[_Entry]:
    """Return the folders that musicemo created. Any other folder is neither listed nor removed."""
    return [
        _entry(folder)
        for parent in sorted(_folders(top))
        for folder in sorted(_folders(parent))
        if _OWN.fullmatch(folder.name)
    ]


def _folders(top: Path) -> list[Path]:
    return [path for path in top.iterdir() if path.is_dir() and not path.is_symlink()] if top.is_dir() else []


def _entry(folder: Path) -> _Entry:
    sizes = []
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):  # removed meanwhile
            if path.is_file():
                sizes.append(path.lstat().st_size)
    source = ""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        source = str(read_json(folder / "about.json")["source"])
    return _Entry(f"{folder.parent.name}/{folder.name}", folder, len(sizes), sum(sizes), source)


def _chosen(entries: Sequence[_Entry], name: str | None) -> list[_Entry]:
    if name is None:
        return list(entries)
    wanted = name.rstrip("/")
    matching = [entry for entry in entries if entry.name == wanted or entry.name.startswith(f"{wanted}/")]
    if not matching:
        names = sorted({part for entry in entries for part in (entry.name, entry.folder.parent.name)})
        listed = ", ".join(names) or "nothing"
        raise InputError(f"the cache contains no {name!r}{nearest(name, names)} (contents: {listed})")
    return matching


def _print(entries: Sequence[_Entry]) -> None:
    from musicemo.reporting.blocks import Column, Table

    rows = [[entry.name, str(entry.files), _readable(entry.size), entry.source] for entry in entries]
    if len(entries) > 1:
        rows.append(["all", str(sum(entry.files for entry in entries)), _readable(_total(entries)), ""])
    emit_blocks([Table(["name", "files", "size", Column("source", text=True)], rows)])


def _remove(entry: _Entry) -> None:
    try:
        shutil.rmtree(entry.folder)
    except OSError as error:
        raise RunError(f"{error.filename or entry.folder}: cannot be removed: {error.strerror}") from error
    with contextlib.suppress(OSError):  # other folders are in it
        entry.folder.parent.rmdir()


def _total(entries: Sequence[_Entry]) -> int:
    return sum(entry.size for entry in entries)


def _readable(size: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if size < _KILO:
            return f"{size:.0f} {unit}" if unit == "B" or size >= 10 else f"{size:.1f} {unit}"
        size /= _KILO
    return f"{size:.1f} TB"
