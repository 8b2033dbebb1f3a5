"""Where features are kept that can be made again."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["cache_folder"]


def cache_folder() -> Path:
    """Return `$MUSICEMO_CACHE`, or else `musicemo` in the user's cache folder; it need not exist.

    The user's cache folder is `$XDG_CACHE_HOME`, or `~/.cache`.
    """
    own = os.environ.get("MUSICEMO_CACHE")
    if own:
        return Path(own).expanduser()
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "musicemo"
