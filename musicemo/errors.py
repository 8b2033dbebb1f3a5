"""Exceptions, and their exit codes on the command line."""

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
    "RunStopped",
    "describe_error",
    "nearest",
    "problem_kind",
    "summarize_problems",
]


class MusicemoError(Exception):
    """Base class of the errors that musicemo raises. The text of an error is written for the user."""

    exit_code: ClassVar[int] = 1


class InputError(MusicemoError, ValueError):
    """The user's input is wrong: a file, a key, a name, a track, a song.

    The message names the input and its place, and gives the allowed values.
    """

    exit_code = 2
    #: True if every problem begins with its file, line and key.
    placed = False

    def __init__(self, *problems: str) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))


class RunError(MusicemoError, RuntimeError):
    """The input is correct, but the run failed: a non-finite loss, a full disk."""

    exit_code = 1


class RunStopped(RunError):
    """A lifecycle plugin stopped the run without an evaluation. The run can be resumed."""

    exit_code = 130


def nearest(name: str, choices: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the choice closest to `name`, or an empty string."""
    close = difflib.get_close_matches(name, list(choices), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""


#: The parts of a message that differ between mistakes of one kind: names in quotes, paths, numbers.
_VARIABLE = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|/[^:]*|[+-]?\d[\w.]*")
_EXAMPLES = 3


def problem_kind(message: str) -> str:
    """Return the text that messages about mistakes of one kind have in common: without names and numbers."""
    return _VARIABLE.sub("#", message)


def summarize_problems(problems: Iterable[tuple[Hashable, str]], limit: int = 20) -> list[str]:
    """Return messages for an `InputError`. More than three mistakes of one kind are one message with three examples.

    Args:
        problems: The kind and the message of each mistake.
        limit: Maximum number of messages; the others are counted.
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


def describe_error(error: BaseException, package: str | None = None, where: str | None = None) -> str:
    """Return ``Type: message (file:line)`` for an error that a component raised.

    Args:
        error: the error.
        package: package whose innermost line is named, if the error came through it; otherwise the innermost line is.
        where: text to use instead of file and line.
    """
    frames = list(traceback.walk_tb(error.__traceback__))
    package_frames = [
        one for one in frames if one[0].f_globals.get("__name__", "").partition(".")[0] == package
    ]
    for frame, line in (package_frames or frames)[-1:]:
        where = where or f"{frame.f_code.co_filename}:{line}"
    return f"{type(error).__name__}: {error}" + (f" ({where})" if where else "")
