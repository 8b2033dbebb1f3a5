"""Components in an experiment: their tables validated against their own signatures."""

from __future__ import annotations

import functools
import inspect
import math
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import to_jsonable_python

from musicemo import _toml, registry
from musicemo._local import LocalCode, is_local, told_by_line
from musicemo._problems import describe_problem
from musicemo.contracts import PROVIDED
from musicemo.errors import InputError, MusicemoError, RunError

__all__ = ["Component", "Components", "check_declared", "default_component", "make_component", "plain"]


_KINDS = ("regression", "classification")
"""Of targets."""


@dataclass(frozen=True)
class Component:
    """A class, registered or of a file of the user's own, and the parameters that the experiment gives it."""

    kind: str
    name: str
    factory: Any
    parameters: Mapping[str, Any]
    #: The file that it comes from, if it is not registered.
    code: LocalCode | None = None

    def build(self, **provided: Any) -> Any:
        """Construct it with its parameters and those of `provided` that its signature names.

        Raises:
            InputError: the constructor refuses them.
            RunError: it fails as nobody has foreseen; a stranger's may raise anything.
        """
        named = _signature(self.factory)
        chosen = {name: value for name, value in provided.items() if name in named}
        try:
            with told_by_line():
                return self.factory(**self.parameters, **chosen)
        except InputError as error:
            raise InputError(
                *(f"{self.kind} {self.name!r}: {problem}" for problem in error.problems)
            ) from error
        except MusicemoError:
            raise
        except (TypeError, ValueError, ImportError) as error:
            raise InputError(f"{self.kind} {self.name!r}: {error}") from error
        except (Exception, SystemExit) as error:
            raise RunError(
                f"{self.kind} {self.name!r} of {self._origin} cannot be constructed: {type(error).__name__}: {error} "
                f"({_line_in(self.factory, error)})"
            ) from error

    @property
    def _origin(self) -> str:
        """The distribution that it is of, or the module."""
        claims = [claim for claim in registry.claims(self.kind) if claim.name == self.name and not self.code]
        return str(claims[0]) if claims else str(getattr(self.factory, "__module__", "?"))

    def to_table(self) -> dict[str, Any]:
        """Return the TOML table, defaults filled in."""
        return {"type": str(self.code or self.name), **plain(to_jsonable_python(self.parameters))}


def default_component(kind: str, name: str) -> Component:
    """Return a component with its default parameters."""
    return make_component(kind, name, registry.load(kind, name), {})


def make_component(kind: str, name: str, factory: Any, table: Mapping[str, Any]) -> Component:
    """Return a component with the parameters of a TOML table without ``type``.

    Raises:
        InputError: a signature that cannot be read.
        pydantic.ValidationError: the parameters do not fit it.
    """
    validated = registry.validate(_schema(factory, kind), table)
    return Component(
        kind, name, factory, {key: getattr(validated, key) for key in type(validated).model_fields}
    )


def check_declared(kind: str, name: str, factory: Any) -> None:
    """Check that a class says of itself what has to be known before it is made: a loss, which targets it is for.

    Raises:
        InputError: it does not.
    """
    if kind == "loss" and (found := getattr(factory, "kind", None)) not in _KINDS:
        said = "declares no kind" if found is None else f"declares the kind {found!r}"
        raise InputError(
            f"loss {name!r} {said}: its class has to say which targets it is for, with the attribute "
            + " or ".join(f'kind = "{allowed}"' for allowed in _KINDS)
        )


class Components:
    """Looks components up and validates their tables, gathering problems.

    Args:
        source: the experiment's tables.
        problems: where problems are gathered.
        run_local_code: whether files of code that the experiment names are executed, or are a problem.
    """

    def __init__(self, source: _toml.Source, problems: list[str], *, run_local_code: bool = True) -> None:
        self._source = source
        self._problems = problems
        self._run_local_code = run_local_code
        #: The files of code that were found.
        self.code: list[LocalCode] = []

    def find(
        self, kind: str, key: _toml.Key, default: Mapping[str, Any] | None = None, ignore: Sequence[str] = ()
    ) -> Component | None:
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
                factory = code.load()
            else:
                code, factory = None, registry.load(kind, name)
            schema = _schema(factory, kind)
            check_declared(kind, name, factory)
        except InputError as error:
            self._problems += [self._source.error((*key, "type"), problem) for problem in error.problems]
            return None
        parameters = {name: value for name, value in table.items() if name != "type" and name not in ignore}
        try:
            validated = registry.validate(schema, parameters)
        except ValidationError as error:
            self._problems += [
                describe_problem(self._source, key, schema, details, ["type", *ignore])
                for details in error.errors()
            ]
            return None
        return Component(kind, name, factory, self._anchored(validated, key), code)

    def _local(self, name: str, key: _toml.Key) -> LocalCode:
        """Return the code in a file that the experiment itself names.

        Raises:
            InputError: it is named elsewhere, it is not to be executed, or it cannot be read.
        """
        origin = self._source.origin(key)
        if origin.file is None:
            raise InputError(
                f"{name!r}: a file of code is named in the experiment file itself, so write it there"
            )
        if not self._run_local_code:
            raise InputError(
                f"{name!r} is code that came with the experiment; read it, and say --trust-local-code to execute it"
            )
        code = LocalCode.find(name, origin.folder, self._source.code)
        if code not in self.code:
            self.code.append(code)
        return code

    def _at(self, key: _toml.Key, default: Mapping[str, Any] | None) -> Any:
        table: Any = self._source.table
        for part in key:
            absent = isinstance(table, dict) and part not in table
            table = default if absent else table[part]
        return table

    def losses(self, key: _toml.Key, kind: str | None = None) -> Iterator[tuple[float, Component]]:
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
            if found and kind not in (None, found.factory.kind):
                self._problems.append(
                    self._source.error((*place, "type"), f"{found.name!r} is for {found.factory.kind}")
                )
            elif found:
                yield float(weight), found

    def _anchored(self, validated: BaseModel, key: _toml.Key) -> dict[str, Any]:
        """Return the parameters, relative paths taken relative to where they were written."""
        return {
            name: self._anchor(getattr(validated, name), (*key, name)) for name in type(validated).model_fields
        }

    def _anchor(self, value: Any, key: _toml.Key) -> Any:
        if isinstance(value, Path):
            return (self._source.origin(key).folder / value.expanduser()).resolve()
        if isinstance(value, list):
            return [self._anchor(inner, (*key, index)) for index, inner in enumerate(value)]
        if isinstance(value, tuple) and type(value) is tuple:
            return tuple(self._anchor(inner, (*key, index)) for index, inner in enumerate(value))
        if isinstance(value, dict):
            return {name: self._anchor(inner, (*key, name)) for name, inner in value.items()}
        return value


@functools.cache
def _schema(factory: Any, kind: str) -> type[BaseModel]:
    return registry.schema(factory, PROVIDED[kind])


@functools.cache
def _signature(factory: Any) -> frozenset[str]:
    return frozenset(inspect.signature(factory).parameters)


def _line_in(factory: Any, error: BaseException) -> str:
    """Return ``file:line`` of the innermost line of a component's own package that an error came through."""
    package = str(getattr(factory, "__module__", "")).partition(".")[0]
    frames = list(traceback.walk_tb(error.__traceback__))
    own = [found for found in frames if found[0].f_globals.get("__name__", "").partition(".")[0] == package]
    frame, line = (own or frames)[-1]
    return f"{frame.f_code.co_filename}:{line}"


def plain(value: Any) -> Any:
    """Return a value as TOML can hold it: paths as text, tuples as arrays, None left out."""
    if isinstance(value, Mapping):
        leading = {"type": value["type"]} if "type" in value else {}
        return {name: plain(inner) for name, inner in {**leading, **value}.items() if inner is not None}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    return str(value) if isinstance(value, Path) else value
