"""A component and its parameters."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from musicemo import toml
from musicemo.components import registry
from musicemo.components.local import LocalCode, told_by_line
from musicemo.components.specs.table import plain, read_table, table_schema
from musicemo.contracts import Dataset, Weighting
from musicemo.errors import InputError, MusicemoError, RunError, describe

__all__ = ["Component", "check_declared", "default_component", "make_component"]

#: Of targets.
_KINDS = ("regression", "classification")

#: Kind of component -> what one is an instance of, and how that is said.
_IS: dict[str, tuple[type, str]] = {
    "dataset": (Dataset, "a dataset has targets, rows and tracks()"),
    "model": (nn.Module, "a model is an nn.Module"),
    "loss": (nn.Module, "a loss is an nn.Module"),
    "weighting": (Weighting, "a weighting is a musicemo.contracts.Weighting"),
}


@dataclass(frozen=True)
class Component:
    """A class, registered or of a file of the user's own, and the parameters that the experiment gives it."""

    kind: str
    name: str
    #: None if its file was only read.
    factory: Any
    parameters: Mapping[str, Any]
    #: The file that it comes from, if it is not registered.
    code: LocalCode | None = None
    #: Of one whose file was only read: whether its parameters were compared with the source.
    checked: bool = False

    def build(self, **provided: Any) -> Any:
        """Construct it with its parameters and those of `provided` that its signature names.

        Raises:
            InputError: the constructor refuses them, or makes something else than this kind of component.
            RunError: it fails as nobody has foreseen; a stranger's may raise anything.
        """
        named = _signature(self.factory)
        chosen = {name: value for name, value in provided.items() if name in named}
        try:
            with told_by_line():
                made = self.factory(**self.parameters, **chosen)
        except InputError as error:
            raise InputError(
                *(f"{self.kind} {self.name!r}: {problem}" for problem in error.problems)
            ) from error
        except MusicemoError:
            raise
        except (TypeError, ValueError, ImportError) as error:
            raise InputError(f"{self.kind} {self.name!r}: {error}") from error
        except (Exception, SystemExit) as error:
            package = str(getattr(self.factory, "__module__", "")).partition(".")[0]
            raise RunError(
                f"{self.kind} {self.name!r} of {self._origin} cannot be constructed: {describe(error, package)}"
            ) from error
        base, said = _IS[self.kind]
        if not isinstance(made, base):
            raise InputError(f"{self.kind} {self.name!r}: is a {type(made).__name__}; {said}")
        if isinstance(made, nn.Module) and "_modules" not in vars(made):
            raise InputError(f"{self.kind} {self.name!r}: its constructor does not call super().__init__ first")
        return made

    @property
    def _origin(self) -> str:
        """The distribution that it is of, or the module."""
        claims = [claim for claim in registry.claims(self.kind) if claim.name == self.name and not self.code]
        return str(claims[0]) if claims else str(getattr(self.factory, "__module__", "?"))

    def to_table(self) -> dict[str, Any]:
        """Return the TOML table, defaults filled in."""
        return {"type": str(self.code or self.name), **plain(self.parameters)}


def default_component(kind: str, name: str) -> Component:
    """Return a component with its default parameters."""
    return make_component(kind, name, registry.load(kind, name), {})


def make_component(
    kind: str,
    name: str,
    factory: Any,
    table: Mapping[str, Any],
    anchor: Callable[[toml.Key, Path], Path] = lambda _, path: path,
    code: LocalCode | None = None,
) -> Component:
    """Return a component with the parameters of a TOML table without ``type``.

    Args:
        kind: of component.
        name: its type.
        factory: its class, or a function that makes one.
        table: its parameters.
        anchor: gives the absolute path of a path at a key of the table.
        code: the file that it comes from, if it is not registered.

    Raises:
        InputError: a signature that cannot be read, or parameters that cannot be written down.
        pydantic.ValidationError: the parameters do not fit it.
    """
    schema = table_schema(factory, kind)
    return Component(kind, name, factory, read_table(schema, table, registry.place(factory), anchor), code)


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


@functools.cache
def _signature(factory: Any) -> frozenset[str]:
    return frozenset(inspect.signature(factory).parameters)
