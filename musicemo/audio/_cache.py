"""The folder of features that can be made again."""

from __future__ import annotations

import os
from pathlib import Path

from musicemo.files import can_write, expanded, private_folder

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
    if folder.is_dir() or can_write(caches):
        return folder
    return private_folder()
