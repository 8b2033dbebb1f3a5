"""Location of the feature cache."""

from __future__ import annotations

import os
from pathlib import Path

from musicemo.files import can_write, expanded, private_folder

__all__ = ["cache_folder"]


def cache_folder() -> Path:
    """Return `$MUSICEMO_CACHE`, or `musicemo` in the user's cache folder. The folder need not exist.

    The user's cache folder is `$XDG_CACHE_HOME`, or `~/.cache`. Without a writable home, as in many containers, it is
    a private folder among the temporary files.

    Raises:
        InputError: no such folder can be created.
    """
    if named := os.environ.get("MUSICEMO_CACHE"):
        return expanded(named)
    caches = expanded(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
    folder = caches / "musicemo"
    if folder.is_dir() or can_write(caches):
        return folder
    return private_folder()
