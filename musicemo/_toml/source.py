"""The merged tables of an experiment."""

from __future__ import annotations

import copy
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from musicemo._toml.keys import Key, Origin, dotted, keys_within, nested
from musicemo._toml.merging import drop, merge
from musicemo.errors import InputError

__all__ = ["Source"]


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

    def lay(self, table: Mapping[str, Any], origin: Callable[[Key], Origin]) -> None:
        """Lay a table over this one: tables merge, all else replaces, and so does a component of another type.

        Args:
            table: the keys to lay over; it is copied.
            origin: where each key of it was given.
        """
        merge(self.table, copy.deepcopy(table), self.origins, {key: origin(key) for key in keys_within(table)})

    def override(self, text: str) -> None:
        """Lay ``KEY=VALUE`` over the tables; a value that is no TOML is text.

        Raises:
            InputError: it has another form.
        """
        self.lay(_parse_override(text), lambda _: Origin(None, 0, text))

    def drop(self, name: str) -> Any:
        """Take a key of the file out, and return its value; None where it is not there."""
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
    name, equals, raw = text.partition("=")
    if not equals:
        raise InputError(f"--set {text}: must have the form KEY=VALUE, for example training.epochs=3")
    try:
        given = tomllib.loads(f"value = {raw}")
    except tomllib.TOMLDecodeError:
        given = {}
    value = given["value"] if len(given) == 1 else raw
    try:
        return nested(name, value)
    except InputError as error:
        raise InputError(f"--set {text}: {error}") from error
