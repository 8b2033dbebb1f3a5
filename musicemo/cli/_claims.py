"""What is told of an installed component or plugin."""

from __future__ import annotations

from typing import Any

from musicemo.components import registry
from musicemo.components.definitions import find_definition
from musicemo.errors import InputError

__all__ = ["check_component", "load_claim", "problem_of", "row_of"]


def row_of(claim: registry.Claim) -> dict[str, Any]:
    """Return what metadata and files tell, without importing anything."""
    definition = find_definition(claim.entry_point.value)
    return {
        "kind": claim.kind,
        "name": claim.name,
        "distribution": claim.distribution,
        "version": claim.version,
        "defined": claim.entry_point.value,
        "file": str(definition.file) if definition.file else None,
        "line": definition.line or None,
        "summary": definition.summary,
    }


def problem_of(claim: registry.Claim, *, check: bool) -> str | None:
    """Return why a component cannot be had, as far as is known; with `check`, after importing it."""
    if claim.disabled:
        return "is left out, by --without or MUSICEMO_DISABLE_PLUGINS"
    if len({str(other) for other in registry.claims(claim.kind) if other.name == claim.name}) > 1:
        return "is claimed by another distribution too"
    if claim.incompatible:
        return f"works with {claim.incompatible} only"
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


def load_claim(claim: registry.Claim) -> Any:
    """Import a component and read its signature, or a plugin and its hooks."""
    component = registry.load(claim.kind, claim.name)
    if claim.kind != "plugin":
        check_component(claim.kind, claim.name, component)
        return component
    registry.Hooks().register(component, claim.name)
    return component


def check_component(kind: str, name: str, component: Any) -> None:
    """Check what can be told of a component without making one."""
    from musicemo.components.specs import check_declared, table_schema

    table_schema(component, kind)
    check_declared(kind, name, component)
