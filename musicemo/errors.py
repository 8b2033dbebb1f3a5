"""What can go wrong, and the exit code that each failure has on the command line."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import ClassVar

__all__ = ["InputError", "MusicemoError", "RunError", "nearest"]


class MusicemoError(Exception):
    """Base of every error that musicemo raises on purpose; its text is meant for the user as it stands."""

    exit_code: ClassVar[int] = 1


class InputError(MusicemoError, ValueError):
    """What the user gave is wrong: a file, a key, a name, a track, a song.

    The message names the thing and where it stands, and says what is allowed.
    """

    exit_code = 2

    def __init__(self, *problems: str) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))


class RunError(MusicemoError, RuntimeError):
    """The input was fine and the run itself failed: a non-finite loss, a full disk."""

    exit_code = 1


def nearest(name: str, choices: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the choice closest to `name`, or an empty string."""
    close = difflib.get_close_matches(name, list(choices), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""
