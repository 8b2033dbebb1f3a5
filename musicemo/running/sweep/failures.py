"""Runs that have no outcome: they fail, or another process is training them."""

from __future__ import annotations

import hashlib
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ParamSpec, TypeVar

from musicemo.errors import InputError, MusicemoError, RunError
from musicemo.runs import RunInUseError, unforeseen

__all__ = ["Failure", "InProgress", "attempt", "to_failure"]

_P = ParamSpec("_P")
_T = TypeVar("_T")


@dataclass(frozen=True)
class Failure:
    """Why there is no outcome."""

    error: MusicemoError


@dataclass(frozen=True)
class InProgress:
    """Another process is training the run."""

    message: str


def attempt(
    folder: Path, make: Callable[_P, _T], *arguments: _P.args, **more: _P.kwargs
) -> _T | Failure | InProgress:
    """Return the outcome, or why there is none, whatever a stranger's component raised."""
    try:
        return make(*arguments, **more)
    except RunInUseError as error:
        return InProgress(str(error))
    except (Exception, SystemExit) as error:
        return to_failure(folder, error)


def to_failure(folder: Path, error: BaseException) -> Failure:
    """Return a failure that can be sent to another process; the traceback of one that is unforeseen is in a file."""
    if isinstance(error, InputError):
        return Failure(InputError(*error.problems))
    if isinstance(error, MusicemoError):
        return Failure(RunError(str(error)))
    text = "".join(traceback.format_exception(error))
    # What fails alike for every replicate is one file, and one message.
    return Failure(unforeseen(error, folder / f"error-{hashlib.sha256(text.encode()).hexdigest()[:8]}.txt"))
