"""The merged tables of an experiment."""

from __future__ import annotations

import copy
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from musicemo._toml.keys import MOST_LEVELS, Key, Origin, dotted, is_too_deep, nested
from musicemo._toml.merging import Request, drop, lay, unmet
from musicemo.errors import InputError

__all__ = ["Source", "parse_value"]

#: Characters of an override that are quoted in an error about its form.
_LONGEST = 300


@dataclass(slots=True)
class Source:
    """The merged tables of an experiment, and the origin of every key."""

    file: Path
    table: dict[str, Any] = field(default_factory=dict)
    origins: dict[Key, Origin] = field(default_factory=dict)
    #: Axis -> value of the variant that this is, of a file with a matrix.
    variant: dict[str, Any] = field(default_factory=dict)

    #: The files of code that it names, as they were read: another process executes the same.
    code: dict[Path, bytes] = field(default_factory=dict)

    def copy(self) -> Source:
        """Return a source that can be changed without changing this one."""
        return Source(self.file, copy.deepcopy(self.table), dict(self.origins), dict(self.variant), self.code)

    def lay(self, table: Mapping[str, Any], origin: Callable[[Key], Origin]) -> list[Request]:
        """Lay a table over this one: tables merge, all else replaces, and so does a component of another type.

        Args:
            table: the keys to lay over; it is copied.
            origin: where each key of it was written.

        Returns:
            The values that it asks for.
        """
        return self.lay_together([(table, origin)])

    def lay_together(
        self, tables: Sequence[tuple[Mapping[str, Any], Callable[[Key], Origin]]]
    ) -> list[Request]:
        """Lay several tables over this one, in any order of a component's type and its other keys.

        Returns:
            The values that they ask for.
        """
        return lay(self.table, self.origins, tables)

    def override(self, texts: Sequence[str]) -> list[Request]:
        """Lay ``KEY=VALUE`` over the tables; a value that is no TOML is text.

        Returns:
            The values that they ask for.

        Raises:
            InputError: one has another form, or another one takes its value away.
        """
        requests = self.lay_together(
            [(_parse_override(text), lambda _, text=text: Origin(None, 0, text)) for text in texts]  # type: ignore[misc]
        )
        if lost := self.unmet(requests):
            raise InputError(
                *(
                    f"{one.origin}: {dotted(one.key)}: {self.origin(one.key)} replaces this value"
                    for one in lost
                )
            )
        return requests

    def unmet(self, requests: Sequence[Request], *, may_be_replaced: bool = True) -> list[Request]:
        """Return the requests whose values the tables do not have, unless a later one replaces them."""
        return unmet(requests, self.table, may_be_replaced=may_be_replaced)

    def drop(self, name: str) -> Any:
        """Remove a key of the file and return its value, or None if it is not there."""
        value = self.table.get(name)
        drop(self.table, self.origins, (name,))
        return value

    def origin(self, key: Key) -> Origin:
        """Return the origin of a key, or of the nearest table above it that was given."""
        while key and key not in self.origins:
            key = key[:-1]
        return self.origins.get(key, Origin(self.file, 1))

    def error(self, key: Key, message: str) -> str:
        """Return a line that names the file, the line and the key."""
        place = f"{dotted(key)}: " if key else ""
        return f"{self.origin(key)}: {place}{message}"

    @contextmanager
    def blaming(self, *key: str | int) -> Iterator[None]:
        """Put the file, line and key before every problem that is raised inside."""
        try:
            yield
        except InputError as error:
            raise InputError(*(self.error(key, problem) for problem in error.problems)) from error


def _parse_override(text: str) -> dict[str, Any]:
    names = [text[: match.start()] for match in re.finditer("=", text)]
    if not names:
        raise InputError(f"--set {text}: must have the form KEY=VALUE, for example training.epochs=3")
    if not text.isascii() and text != text.encode("utf-8", "ignore").decode():
        raise InputError(f"--set {text!r}: is not UTF-8 text")
    problems: list[InputError] = []
    for name in names:  # a quoted part of a key may hold an equals sign
        try:
            nested(name, 0)
        except InputError as error:
            problems.append(error)
            continue
        try:
            return nested(name, parse_value(text[len(name) + 1 :]))
        except InputError as error:
            raise InputError(f"--set {_shortened(text)}: {error}") from error
    raise InputError(f"--set {_shortened(text)}: {problems[0]}") from problems[0]


def parse_value(raw: str) -> Any:
    """Return the value that a text is in TOML, or the text if it is none.

    Raises:
        InputError: it is nested too deep, or has too many digits.
    """
    try:
        parsed = tomllib.loads(f"value = {raw}")
    except tomllib.TOMLDecodeError:
        return raw
    except ValueError as error:
        raise InputError(str(error)) from error
    except RecursionError as error:
        raise InputError(f"is nested more than {MOST_LEVELS} levels deep") from error
    if is_too_deep(parsed):
        raise InputError(f"is nested more than {MOST_LEVELS} levels deep")
    return parsed["value"] if len(parsed) == 1 else raw


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
