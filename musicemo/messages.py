"""Messages to the user: shown on standard error, and collected for the results of a run.

Every module logs its warnings to ``logging.getLogger(__name__)``, as a component of another package may. A library's
Python warnings are logged to ``py.warnings`` while messages are shown or collected; unlike after
`logging.captureWarnings`, without the place in the library.
"""

from __future__ import annotations

import copy
import logging
import os
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from musicemo.terminal import say

__all__ = ["Collector", "collected", "muted", "replay", "shown", "withheld"]

_STYLES = {logging.WARNING: "yellow", logging.ERROR: "bold red", logging.CRITICAL: "bold red"}


class Collector(logging.Handler):
    """Collects warnings and errors.

    Args:
        texts: earlier messages.
    """

    def __init__(self, texts: Iterable[str] = ()) -> None:
        super().__init__(logging.WARNING)
        #: The messages, each once.
        self.texts = list(dict.fromkeys(texts))
        #: The log records of the new messages, which can be sent to another process.
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Collect a message, unless it was collected before."""
        text = _text(record)
        if text not in self.texts:
            self.texts.append(text)
            sendable = copy.copy(record)
            sendable.msg, sendable.args, sendable.exc_info = text, None, None
            self.records.append(sendable)

    def precede(self, texts: Iterable[str]) -> None:
        """Put earlier messages before the collected ones."""
        self.texts[:] = dict.fromkeys([*texts, *self.texts])


class _TerminalHandler(logging.Handler):
    """Prints each message once on standard error: ``warning: TEXT``.

    A record from another process may name its replicate in the attribute ``replicate``.
    """

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._seen: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        """Print a message, unless it was printed before: what warns in every epoch need not be read as often."""
        text = _text(record)
        if text not in self._seen:
            self._seen.add(text)
            replicate = getattr(record, "replicate", "")
            style = _STYLES.get(record.levelno, "yellow")
            text = text.replace(f"{Path.cwd()}{os.sep}", "")  # short paths: as the user writes them
            say(record.levelname.lower(), style, f"{replicate}: {text}" if replicate else text)


@contextmanager
def shown(*, default: bool = False) -> Iterator[None]:
    """Show messages on standard error inside.

    Args:
        default: whether to do so only if the program has not configured logging.
    """
    if default and logging.getLogger("musicemo").hasHandlers():
        yield
    else:
        with _handled_by(_TerminalHandler()):
            yield


@contextmanager
def collected(texts: Iterable[str] = ()) -> Iterator[Collector]:
    """Collect messages inside, while they are shown as well.

    Args:
        texts: earlier messages, which come first.
    """
    collector = Collector(texts)
    with shown(default=True), _handled_by(collector):
        yield collector


@contextmanager
def withheld() -> Iterator[Collector]:
    """Collect messages inside, instead of showing them or of recording them in an enclosing run."""
    root = logging.getLogger()
    handlers, root.handlers = root.handlers, []
    try:
        collector = Collector()
        with _handled_by(collector):
            yield collector
    finally:
        root.handlers = handlers


@contextmanager
def muted() -> Iterator[None]:
    """Ignore messages and Python warnings inside."""
    with withheld(), warnings.catch_warnings(action="ignore"):
        yield


def replay(records: Iterable[logging.LogRecord], replicate: str) -> None:
    """Show the messages that another process collected.

    Args:
        records: its log records.
        replicate: the replicate that the process worked on.
    """
    for record in records:
        record.replicate = replicate
        logger = logging.getLogger(record.name)
        if logger.isEnabledFor(record.levelno):
            logger.handle(record)


@contextmanager
def _handled_by(handler: logging.Handler) -> Iterator[None]:
    """Give a handler the messages of all packages inside, and Python's warnings, also those that were shown before."""
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _log_warning
            yield
    finally:
        root.removeHandler(handler)


def _log_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    logging.getLogger("py.warnings").warning("%s", message)


def _text(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:  # another package's arguments do not fit its text
        return str(record.msg)
