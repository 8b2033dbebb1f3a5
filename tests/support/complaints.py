"""Warnings that musicemo logs: each is an error in a test that does not expect it."""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Iterator


class UnexpectedWarning(UserWarning):
    """A warning was logged outside of `warns`."""


class Guard(logging.Handler):
    """Raises an error at the place of the warning."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.expected: list[list[str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.name.startswith("musicemo"):
            self.take(record.getMessage())

    def take(self, text: str) -> None:
        if not self.expected:
            raise UnexpectedWarning(text)
        self.expected[-1].append(text)


_guard = Guard()


@contextlib.contextmanager
def guarded() -> Iterator[None]:
    """Let unexpected warnings be errors inside."""
    root = logging.getLogger()
    root.addHandler(_guard)
    try:
        yield
    finally:
        root.removeHandler(_guard)


@contextlib.contextmanager
def warns(match: str = "") -> Iterator[list[str]]:
    """Expect at least one warning whose text matches; yield the list of all. The others must be expected outside."""
    texts: list[str] = []
    _guard.expected.append(texts)
    try:
        yield texts
    finally:
        _guard.expected.pop()
    assert any(re.search(match, text) for text in texts), f"no warning matches {match!r}: {texts}"
    for text in texts:
        if not re.search(match, text):
            _guard.take(text)


@contextlib.contextmanager
def any_warnings() -> Iterator[list[str]]:
    """Expect any number of warnings; yield the list of them."""
    texts: list[str] = []
    _guard.expected.append(texts)
    try:
        yield texts
    finally:
        _guard.expected.pop()
