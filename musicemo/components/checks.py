"""Checks of whether installed components and plugins can be loaded."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

from musicemo.components.documentation import find_definition
from musicemo.components.registry import Claim, claims, load
from musicemo.errors import InputError

__all__ = ["load_claim", "problem_of", "protocol_file"]


def problem_of(claim: Claim, *, check: bool) -> str | None:
    """Return why a component or plugin cannot be loaded, or None; `check` loads it to find out."""
    if claim.disabled:
        return "is ignored, by --without or MUSICEMO_DISABLE_PLUGINS"
    if len({str(other) for other in claims(claim.kind) if other.name == claim.name}) > 1:
        return "is also provided by another distribution"
    if claim.incompatible:
        return f"requires {claim.incompatible}"
    problem = find_definition(claim.entry_point.value).problem
    if problem or not check:
        return problem or None
    try:
        load_claim(claim)
    except InputError as error:
        return str(error)
    except Exception as error:  # an object of any kind, where a class is expected
        return f"{type(error).__name__}: {error}"
    return None


def protocol_file(name: str) -> Path:
    """Return the TOML file of a protocol.

    Raises:
        InputError: No package has the protocol, or its entry point is not a function that returns the path of a file.
    """
    function = load("protocol", name)
    path = function() if callable(function) else function
    if not isinstance(path, Path) or not path.is_file():
        raise InputError(
            f"protocol {name!r}: its entry point must be a function that returns the path of a TOML file, not {path!r}"
        )
    return path


def load_claim(claim: Claim) -> Any:
    """Import a component and check its signature, a plugin and check its hooks, or a protocol and look for its file."""
    component = load(claim.kind, claim.name)
    if claim.kind == "protocol":
        protocol_file(claim.name)
        return component
    if claim.kind == "plugin":
        from musicemo.components.hooks import Hooks, opt_in

        Hooks().register(component, claim.name, construct=not opt_in(component))
    if claim.kind != "plugin" or inspect.isclass(component):
        from musicemo.components.spec import check_component

        check_component(claim.kind, claim.name, component)
    return component
