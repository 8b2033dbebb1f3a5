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

#: What is made in the cache has a folder of its own, `<dataset>/<name>-<16 hexadecimal digits>` or the digits alone.
_OWN = re.compile(r"(.+-)?[0-9a-f]{16}")
_KILO = 1000.0


@dataclass(frozen=True)
class _Entry:
    """A folder in the cache; `source` is what it was made of, where it says so."""

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
        typer.Argument(
            metavar="NAME", show_default=False, help="Only this: a dataset, or a folder as it is listed."
        ),
    ] = None,
    clear: Annotated[bool, typer.Option("--clear", help="Name what is there, and remove it.")] = False,
    path: Annotated[bool, typer.Option("--path", help="Print where the cache is, and nothing else.")] = False,
) -> None:
    """Show or clear the features that datasets have made.

    They are made again when they are needed. The environment variable MUSICEMO_CACHE moves the cache.
    """
    from musicemo.audio import cache_folder

    top = cache_folder()
    if path:
        emit(f"{top}\n")
        return
    entries = _chosen(_entries(top), name)
    emit(f"{top}{'' if top.is_dir() else ' (nothing is there yet)'}\n")
    _print(entries)
    if clear:
        for entry in entries:
            _remove(entry)
        emit(f"Removed {len(entries)} folder{'s' * (len(entries) != 1)}, {_readable(_total(entries))}.\n")


def _entries(top: Path) -> list[_Entry]:
    """Return what musicemo has made; anything else in the folder is not looked at, nor ever removed."""
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
    chosen = [entry for entry in entries if entry.name == wanted or entry.name.startswith(f"{wanted}/")]
    if not chosen:
        known = sorted({part for entry in entries for part in (entry.name, entry.folder.parent.name)})
        listed = ", ".join(known) or "nothing"
        raise InputError(f"the cache has no {name!r}{nearest(name, known)} (it has: {listed})")
    return chosen


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
