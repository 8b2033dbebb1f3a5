"""Write files so that a reader never sees half of one; the one CSV dialect of musicemo's files."""

from __future__ import annotations

import contextlib
import csv
import json
import logging
import math
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from musicemo.errors import InputError, RunError
from musicemo.terminal import visible

__all__ = [
    "can_write",
    "csv_line",
    "csv_text",
    "exclusive",
    "expanded",
    "make_folder",
    "plain_cell",
    "printable",
    "private_folder",
    "read_csv",
    "read_json",
    "shortened",
    "temporary_prefix",
    "to_json",
    "write_atomically",
    "write_bytes",
    "write_json",
    "write_text",
]

_log = logging.getLogger(__name__)

#: Spreadsheets execute a cell that begins with one of these, or with its full-width form, as a formula.
_FORMULA = (*"=+-@\t\r\n", *(chr(ord(sign) + 0xFEE0) for sign in "=+-@"))
_NUMBER = re.compile(r"[+-]?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|inf|nan)")
_QUOTED = re.compile(r'[,"\r\n]')

#: Levels of nesting that JSON may have; reading refuses more, too.
_DEEPEST = 50

_LONGEST_NAME = 255
"""Bytes that a file's name may have on the common file systems."""

_RANDOM = 8
"""Characters that `tempfile` adds to a prefix."""

#: Halves of characters that stand for no byte of a file's name.
_LONE = re.compile("[\ud800-\udc7f\udd00-\udfff]")


def expanded(path: str | Path) -> Path:
    """Return a path whose ``~`` or ``~name`` is that home. It stays as it is if there is no such home."""
    return Path(os.path.expanduser(path))  # noqa: PTH111  # Path.expanduser raises


def can_write(folder: Path) -> bool:
    """Return whether a folder can be written to, or made; it is absolute, unlike a home that is not there."""
    nearest = next((path for path in (folder, *folder.parents) if path.exists()), None)
    return (
        folder.is_absolute()
        and nearest is not None
        and nearest.is_dir()
        and os.access(nearest, os.W_OK | os.X_OK)
    )


def private_folder() -> Path:
    """Return a folder among the temporary files that nobody else can write to, for a user without a home.

    Raises:
        InputError: there is none.
    """
    import tempfile  # like hashlib, slow to import, and not needed for --help

    try:
        user = os.getuid() if hasattr(os, "getuid") else 0
        folder = Path(tempfile.gettempdir()) / f"musicemo-{user}"
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.lstat()
        if folder.is_symlink() or (user and status.st_uid != user) or status.st_mode & 0o022:
            raise PermissionError(0, "it belongs to somebody else")
    except OSError as error:
        problem = f"{error.filename or 'the folder of temporary files'}: {error.strerror}"
        raise InputError(
            f"the cache has no folder: the home folder cannot be written to ({problem}). Set MUSICEMO_CACHE=FOLDER"
        ) from error
    return folder


def write_atomically(path: Path, write: Callable[[BinaryIO], None]) -> None:
    """Let `write` fill a temporary file beside `path`, then put it in `path`'s place.

    Raises:
        RunError: the file cannot be written (a full disk, a folder without permission); `path` is untouched.
    """
    import tempfile

    temporary = None
    try:
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=temporary_prefix(path.name))
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


def temporary_prefix(name: str) -> str:
    """Return how the temporary files begin with which `write_atomically` replaces a file of this name."""
    return shortened(f".{name}", ".", _LONGEST_NAME - _RANDOM)


def shortened(name: str, ending: str, most: int = _LONGEST_NAME) -> str:
    """Return a file's name with its ending; a name of more than `most` bytes is cut, and a hash keeps it distinct."""
    if len(os.fsencode(name + ending)) <= most:
        return name + ending
    import hashlib

    digest = hashlib.sha256(os.fsencode(name)).hexdigest()[:16]
    room = most - len(os.fsencode(ending)) - len(digest) - 1
    # A character that is cut in two is left out; NFC and NFD spellings of one name keep their own hashes.
    begin = os.fsencode(name)[:room].decode("utf-8", "ignore").encode()
    return f"{os.fsdecode(begin)}-{digest}{ending}"


def printable(name: str | os.PathLike[str]) -> str:
    r"""Return a file's name or another text as it can be shown anywhere.

    Bytes that are not UTF-8 and characters that act on a terminal become escapes such as ``\xe9`` and ``\x1b``. The
    result does not depend on the locale.
    """
    text = _LONE.sub(lambda match: visible(match[0]), os.fspath(name))
    try:
        content = os.fsencode(text)
    except UnicodeEncodeError:  # it is no name of a file in this locale
        content = text.encode("utf-8", "surrogateescape")
    text = visible(content.decode("utf-8", "backslashreplace"))
    return text.replace("\t", r"\t").replace("\n", r"\n")


def make_folder(folder: Path) -> None:
    """Create a folder and those above it, unless they exist.

    Raises:
        RunError: it cannot be created.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"{folder}: cannot be created: {error.strerror or error}") from error


@contextlib.contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Wait until no other process is in here for the same folder; where the system has no locks, go on at once.

    The lock ends with the process, however that ends.
    """
    descriptor = None
    with contextlib.suppress(OSError, ImportError):  # a read-only folder, or a file system without locks
        import fcntl

        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(folder / ".lock", flags, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _log.warning(f"{folder}: waiting for another process that works in this folder")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


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


def to_json(value: Any, key: tuple[str, ...] = ()) -> Any:
    """Return a value as JSON holds it: arrays, tensors and sets as lists, paths as text, what is not finite as null.

    Args:
        value: from musicemo, a component or a plugin.
        key: where in the file it is.

    Raises:
        ValueError: JSON cannot hold the value, or it is nested too deeply; the message names the place.
    """
    place = f"{'.'.join(key[:3])}: " if key else ""
    if len(key) > _DEEPEST:
        raise ValueError(f"{place}is nested in more than {_DEEPEST} levels")
    if hasattr(value, "detach"):  # a tensor
        value = value.detach()
    if hasattr(value, "tolist"):  # an array, a tensor or a scalar of either
        value = value.tolist()
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value) if abs(value) < 2**63 else to_json(float(value), key)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, str | os.PathLike):
        return _LONE.sub("\N{REPLACEMENT CHARACTER}", str(value))
    if isinstance(value, Mapping):
        if wrong := [name for name in value if not isinstance(name, str | int)]:
            raise ValueError(f"{place}the key {wrong[0]!r} must be text")
        return {to_json(str(name)): to_json(inner, (*key, str(name))) for name, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [to_json(inner, (*key, str(index))) for index, inner in enumerate(value)]
    raise ValueError(f"{place}JSON has no value for the type {type(value).__name__}")


def read_json(path: Path) -> Any:
    """Read JSON in UTF-8.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is not JSON in UTF-8, or is nested too deeply.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


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
