"""What can go wrong, and the exit code that each failure has on the command line."""

from __future__ import annotations

import difflib
import traceback
from collections.abc import Iterable
from typing import ClassVar

__all__ = ["InputError", "MusicemoError", "RunError", "describe", "nearest"]


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


def describe(error: BaseException, package: str | None = None, where: str | None = None) -> str:
    """Return ``Type: message (file:line)`` of an error that a component raised.

    Args:
        error: the error.
        package: whose innermost line is named, if the error came through it; otherwise the innermost of all is.
        where: what to name instead.
    """
    frames = list(traceback.walk_tb(error.__traceback__))
    own = [one for one in frames if one[0].f_globals.get("__name__", "").partition(".")[0] == package]
    for frame, line in (own or frames)[-1:]:
        where = where or f"{frame.f_code.co_filename}:{line}"
    return f"{type(error).__name__}: {error}" + (f" ({where})" if where else "")
