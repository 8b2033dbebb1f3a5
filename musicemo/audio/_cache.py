"""The folder of features that can be made again."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from musicemo.errors import InputError
from musicemo.files import expanded

__all__ = ["cache_folder"]


def cache_folder() -> Path:
    """Return `$MUSICEMO_CACHE`, or else `musicemo` in the user's cache folder; it need not exist.

    The user's cache folder is `$XDG_CACHE_HOME`, or `~/.cache`. A user without a home, or with one that is read only,
    as in many containers, has a private folder among the temporary files.

    Raises:
        InputError: there is no such folder either.
    """
    if named := os.environ.get("MUSICEMO_CACHE"):
        return expanded(named)
    caches = expanded(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
    folder = caches / "musicemo"
    if caches.is_absolute() and (folder.is_dir() or _writable(caches)):  # "~" stays where there is no home
        return folder
    return _private()


def _writable(folder: Path) -> bool:
    """Return whether a folder can be written to, or made."""
    nearest = next((path for path in (folder, *folder.parents) if path.exists()), None)
    return nearest is not None and nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)


def _private() -> Path:
    """Return a folder among the temporary files that nobody else can write to."""
    try:
        user = os.getuid() if hasattr(os, "getuid") else 0
        folder = Path(tempfile.gettempdir()) / f"musicemo-{user}"
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
        if folder.is_symlink() or (user and found.st_uid != user) or found.st_mode & 0o022:
            raise PermissionError(0, "it belongs to somebody else")
    except OSError as error:
        problem = f"{error.filename or 'the folder of temporary files'}: {error.strerror}"
        raise InputError(
            f"there is no folder for features: the home cannot be written to ({problem}); set MUSICEMO_CACHE=FOLDER"
        ) from error
    return folder
