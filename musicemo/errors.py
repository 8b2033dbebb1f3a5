"""What can go wrong, and the exit code that each failure has on the command line."""

from __future__ import annotations

import difflib
import re
import traceback
from collections import defaultdict
from collections.abc import Hashable, Iterable
from typing import ClassVar

__all__ = [
    "InputError",
    "MusicemoError",
    "RunError",
    "describe",
    "nearest",
    "problem_kind",
    "summarize_problems",
]


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


#: The parts of a message that differ between mistakes of one kind: names in quotes, paths, numbers.
_VARIABLE = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|/[^:]*|[+-]?\d[\w.]*")
_EXAMPLES = 3


def problem_kind(message: str) -> str:
    """Return what messages about mistakes of one kind have in common: the text without its names and numbers."""
    return _VARIABLE.sub("#", message)


def summarize_problems(problems: Iterable[tuple[Hashable, str]], limit: int = 20) -> list[str]:
    """Return messages for an `InputError`: one for more than three mistakes of a kind, with three of them.

    Args:
        problems: The kind and the message of each mistake.
        limit: Number of messages; the others are counted.
    """
    kinds: dict[Hashable, list[str]] = defaultdict(list)
    shown: list[str] = []
    for kind, message in (listed := list(problems)):
        kinds[kind].append(message)
    for kind, message in listed:
        messages = kinds[kind]
        if len(messages) <= _EXAMPLES:
            shown.append(message)
        elif message is messages[0]:
            more = f"... and {len(messages) - _EXAMPLES} more of this kind ({len(messages)} in all)"
            shown.append("\n  ".join([*messages[:_EXAMPLES], more]))
    more_kinds = [f"... and {len(shown) - limit} more"] if len(shown) > limit else []
    return [*shown[:limit], *more_kinds]


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
