"""The components that an experiment names."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from musicemo import toml
from musicemo.components import registry
from musicemo.components.definitions import read_parameters
from musicemo.components.local import LocalCode, Policy, is_local
from musicemo.components.problems import describe_problem
from musicemo.components.specs.component import Component, check_declared, make_component
from musicemo.components.specs.table import table_schema
from musicemo.contracts import PROVIDED
from musicemo.errors import InputError, nearest
from musicemo.files import expanded

__all__ = ["Components"]


class Components:
    """Looks components up and validates their tables, gathering problems.

    Args:
        source: the experiment's tables.
        problems: where problems are gathered.
        local_code: what is done with files of code that the experiment names.
    """

    def __init__(self, source: toml.Source, problems: list[str], *, local_code: Policy = "execute") -> None:
        self._source = source
        self._problems = problems
        self._policy = local_code
        #: The files of code that were found.
        self.code: list[LocalCode] = []

    def find(
        self, kind: str, key: toml.Key, default: Mapping[str, Any] | None = None, ignore: Sequence[str] = ()
    ) -> Component | None:
        """Return the component of a table, or None where there is none or something is wrong with it.

        Args:
            kind: of component.
            key: of its table.
            default: its table where there is none.
            ignore: keys of the table that are not the component's own.
        """
        table = self._at(key, default)
        if not isinstance(table, Mapping):
            return None  # the schema said so already
        name = table.get("type")
        if not isinstance(name, str):
            choices = ", ".join(sorted({claim.name for claim in registry.claims(kind)}))
            wanted = f"the name of a {kind} (installed: {choices})"
            self._problems.append(
                self._source.error((*key, "type"), f"must be {wanted}, not {name!r}")
                if "type" in table
                else self._source.error(key, f"needs type = {wanted}")
            )
            return None
        try:
            if is_local(name):
                code = self._local(name, (*key, "type"))
                if self._policy == "read":
                    return self._unexecuted(kind, name, key, code, ignore)
                factory = code.load()
            else:
                code, factory = None, registry.load(kind, name)
            schema = table_schema(factory, kind)
            check_declared(kind, name, factory)
        except InputError as error:
            self._problems += [self._source.error((*key, "type"), problem) for problem in error.problems]
            return None
        parameters = {name: value for name, value in table.items() if name != "type" and name not in ignore}
        try:
            return make_component(
                kind, name, factory, parameters, lambda inner, path: self._anchored((*key, *inner), path), code
            )
        except ValidationError as error:
            self._problems += [
                describe_problem(self._source, key, schema, details, ["type", *ignore])
                + _filled_in(kind, details)
                + (
                    f"; type is {name!r}"
                    if self._source.variant and details["type"] == "extra_forbidden"
                    else ""
                )
                for details in error.errors()
            ]
        except _BadPathError as error:
            self._problems += error.problems
        except InputError as error:
            self._problems += [self._source.error(key, problem) for problem in error.problems]
        return None

    def _local(self, name: str, key: toml.Key) -> LocalCode:
        """Return the code in a file that the experiment itself names.

        Raises:
            InputError: it is named elsewhere, it is not to be executed, or it cannot be read.
        """
        origin = self._source.origin(key)
        if origin.file is None:
            raise InputError(
                f"{name!r}: a file of code is named in the experiment file itself, so write it there"
            )
        if self._policy == "refuse":
            raise InputError(
                f"{name!r} is code that came with the experiment; read it, and say --trust-local-code to execute it"
            )
        code = LocalCode.find(name, origin.folder, self._source.code)
        if self._policy == "kept" and not code.is_kept_in(self._source.file.parent):
            raise InputError(
                f"{name!r}: {code.path} is not in the run's folder code, and --trust-local-code executes only what is"
            )
        if code not in self.code:
            self.code.append(code)
        return code

    def _unexecuted(
        self, kind: str, name: str, key: toml.Key, code: LocalCode, ignore: Sequence[str]
    ) -> Component:
        """Return a component whose parameters are as the experiment writes them, compared with its source.

        Raises:
            InputError: its file is no Python.
        """
        table = self._at(key, None)
        parameters = {name: value for name, value in table.items() if name != "type" and name not in ignore}
        try:
            read = read_parameters(code.content, code.attribute)
        except SyntaxError as error:
            raise InputError(f"{code.path}:{error.lineno}: SyntaxError: {error.msg}") from error
        except ValueError as error:
            raise InputError(f"{code.path}: is not Python: {error}") from error
        if read is None:
            return Component(kind, name, None, parameters, code)
        keys = {one.name: one for one in read if one.name not in PROVIDED[kind]}
        allowed = sorted({*keys, "type", *ignore})
        for unknown in [one for one in parameters if one not in keys]:
            self._problems.append(
                self._source.error(
                    (*key, unknown),
                    f"unknown key{nearest(unknown, allowed)} (allowed: {', '.join(allowed)})",
                )
            )
        for one in keys.values():
            if one.name not in parameters and one.required:
                self._problems.append(self._source.error((*key, one.name), "is required"))
            elif one.name in parameters and "Path" in one.annotation:
                parameters[one.name] = self._anchored_text(parameters[one.name], (*key, one.name))
        defaults = {one.name: one.default for one in keys.values() if one.default is not None}
        return Component(kind, name, None, {**defaults, **parameters}, code, checked=True)

    def _anchored_text(self, value: Any, key: toml.Key) -> Any:
        """Return a value in which every text, which is a path, is absolute."""
        if isinstance(value, str):
            return str(self._anchored(key, Path(value)))
        if isinstance(value, list):
            return [self._anchored_text(inner, (*key, index)) for index, inner in enumerate(value)]
        if isinstance(value, dict):
            return {name: self._anchored_text(inner, (*key, name)) for name, inner in value.items()}
        return value

    def _at(self, key: toml.Key, default: Mapping[str, Any] | None) -> Any:
        table: Any = self._source.table
        for part in key:
            absent = isinstance(table, dict) and part not in table
            table = default if absent else table[part]
        return table

    def losses(self, key: toml.Key, kind: str | None = None) -> Iterator[tuple[float, Component]]:
        """Yield the weighted terms of a key that holds a loss or a list of them; nothing where it is absent.

        Args:
            key: such as ``("tasks", "valence", "loss")``.
            kind: what targets they must be for; None for any.
        """
        table = self._at(key, None)
        keys = (
            [(*key, index) for index in range(len(table))]
            if isinstance(table, list)
            else [key]
            if table is not None
            else []
        )
        for place in keys:
            term = self._at(place, None)
            if not isinstance(term, Mapping):
                continue
            weight = term.get("weight", 1.0)
            if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 < weight < math.inf:
                self._problems.append(
                    self._source.error((*place, "weight"), f"must be a finite number above 0, not {weight!r}")
                )
                continue
            found = self.find("loss", place, ignore=["weight"])
            if found and found.factory is None:
                yield float(weight), found  # it was not executed
            elif found and kind not in (None, found.factory.kind):
                self._problems.append(
                    self._source.error((*place, "type"), f"{found.name!r} is for {found.factory.kind}")
                )
            elif found:
                yield float(weight), found

    def _anchored(self, key: toml.Key, path: Path) -> Path:
        """Return a path that is written at a key, relative to the folder of its file.

        Raises:
            InputError: there cannot be such a path.
        """
        try:
            anchored = (self._source.origin(key).folder / _expanded(path)).resolve()
            str(anchored).encode()
        except UnicodeError as error:
            problem = (
                f"{str(anchored)!r} is not UTF-8 text, as a run's experiment.toml must be; rename the folder"
            )
            raise _BadPathError(self._source.error(key, problem)) from error
        except (OSError, RuntimeError, ValueError) as error:
            problem = f"{str(path)!r} cannot be a path: {error}"
            raise _BadPathError(self._source.error(key, problem)) from error
        return anchored


class _BadPathError(InputError):
    """A path that there cannot be, with where it is written."""


def _expanded(path: Path) -> Path:
    try:
        return expanded(path)
    except RuntimeError:  # a folder whose name begins with ~ and is no user's
        return path


def _filled_in(kind: str, details: ErrorDetails) -> str:
    """Return a hint where a parameter is asked for that seems meant to be one that the core provides."""
    near = nearest(str(details["loc"][-1]), PROVIDED[kind]) if details["type"] == "missing" else ""
    return near and f"{near} That is filled in by musicemo"
