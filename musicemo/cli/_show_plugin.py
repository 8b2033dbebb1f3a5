"""``musicemo plugins show``."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Annotated, Any

import typer

from musicemo.cli._completion import complete_component
from musicemo.cli._options import AsJson
from musicemo.cli._output import emit, prints_data
from musicemo.components import registry
from musicemo.components.checks import load_claim
from musicemo.components.documentation import definition_in, row_of
from musicemo.errors import InputError, nearest

__all__ = ["show"]

#: What a component's table is called in an experiment file.
_TABLES = {"loss": "tasks.NAME.loss", "augmentation": "[augment]"}


@prints_data
def show(
    name: Annotated[
        str,
        typer.Argument(
            help="Component or plugin, or a component in a file as FILE.py:NAME. The file is executed.",
            show_default=False,
            autocompletion=complete_component,
        ),
    ],
    kind: Annotated[
        str | None,
        typer.Option(
            metavar="KIND",
            help=f"Kind of component, if the name is ambiguous: {', '.join(registry.GROUPS)}.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Print a component's parameters as a TOML table."""
    if kind is not None and kind not in registry.GROUPS:
        raise InputError(f"--kind {kind}: must be one of {', '.join(registry.GROUPS)}")
    from musicemo.components.local import is_local

    if is_local(name):
        row, component = _find_local(name, kind)
    else:
        claim = _find(name, kind)
        row, component = row_of(claim), load_claim(claim)
    from musicemo.experiment.json_schema import component_schema

    if row["kind"] != "plugin":
        schema = component_schema(row["kind"], name, component)
        emit((json.dumps(row | {"schema": schema}, indent=2) if as_json else _table(row, schema)) + "\n")
        return
    hooks = sorted(hook for hook in dir(component) if hook.startswith("musicemo_"))
    settings = (
        component_schema("plugin", name, component) if isinstance(component, type) else {"properties": {}}
    )
    text = "\n".join([_table(row, settings), "# implements:", *(f"#   {hook}" for hook in hooks)])
    emit((json.dumps(row | {"hooks": hooks, "schema": settings}, indent=2) if as_json else text) + "\n")


def _find_local(name: str, kind: str | None) -> tuple[dict[str, Any], Any]:
    """Execute a file that the user names, and return the row and the class that is in it."""
    from musicemo.components.local import LocalCode
    from musicemo.components.spec import check_component

    code = LocalCode.find(name, Path.cwd(), {})
    component = code.load()
    component_kind = kind or _kind_of(component)
    if component_kind is None:
        raise InputError(f"{name}: the kind of component is unknown. Specify it with --kind")
    check_component(component_kind, name, component)
    definition = definition_in(code.path, code.attribute)
    row = {"kind": component_kind, "name": name, "distribution": None, "version": None, "defined": str(code)}
    place = {"file": str(code.path), "line": definition.line or None}
    return row | place | {"summary": definition.summary}, component


def _kind_of(component: Any) -> str | None:
    """Return which kind of component a class is, as far as that shows."""
    from torch import nn

    from musicemo.contracts import Sharing, Weighting

    if not isinstance(component, type):
        return None
    if issubclass(component, Weighting):
        return "weighting"
    if issubclass(component, Sharing):
        return "sharing"
    if any(name.startswith("musicemo_") for name in dir(component)):
        return "plugin"
    if hasattr(component, "tracks"):
        return "dataset"
    if hasattr(component, "extract"):
        return "features"
    if not issubclass(component, nn.Module):
        return None
    return "loss" if hasattr(component, "kind") else "model"


def _find(name: str, kind: str | None) -> registry.Claim:
    everyone = [claim for one in ([kind] if kind else registry.GROUPS) for claim in registry.claims(one)]
    claims = [claim for claim in everyone if claim.name == name]
    if not claims:
        names = sorted({claim.name for claim in everyone})
        raise InputError(
            f"no component or plugin has the name {name!r}{nearest(name, names)} (`musicemo plugins` lists all)"
        )
    if any(claim.kind != "protocol" for claim in claims):  # a protocol may have the name of its dataset
        claims = [claim for claim in claims if kind or claim.kind != "protocol"]
    kinds = list(dict.fromkeys(claim.kind for claim in claims))
    if len(kinds) > 1:
        raise InputError(
            f"{name!r} is the name of a {' and of a '.join(map(registry.noun, kinds))}. Specify one with --kind"
        )
    return claims[0]


def _heading(row: dict[str, Any]) -> list[str]:
    place = f"{row['file']}:{row['line']}" if row["file"] else ""
    origin = f" of {row['distribution']} {row['version']}: {row['defined']}" if row["distribution"] else ""
    return [
        f"# {row['summary']}",
        f"# {row['kind']}{', '.join(filter(None, [origin or ' of your own', place]))}",
    ]


def _table(row: dict[str, Any], schema: dict[str, Any]) -> str:
    """Return the TOML table with every default; what has none is a comment."""
    from musicemo import toml
    from musicemo.experiment.json_schema import in_words

    local = row["distribution"] is None
    title = f"plugins.{'NAME' if local else row['name']}" if row["kind"] == "plugin" else row["kind"]
    lines = [*_heading(row), f"[{_TABLES.get(row['kind'], title)}]"]
    if local or row["kind"] != "plugin":
        lines.append(f"type = {toml.inline(row['name'])}")
    definitions = schema.get("$defs", {})
    for key, schema_of_key in schema["properties"].items():
        if key == "type":
            continue
        description = f"{schema_of_key['description']} " if "description" in schema_of_key else ""
        lines += textwrap.wrap(
            f"{description}({in_words(schema_of_key, definitions)})",
            100,
            initial_indent="# ",
            subsequent_indent="# ",
        )
        default = schema_of_key.get("default")
        if default is None:
            lines.append(f"# {key} = {'# required' if key in schema['required'] else ''}".rstrip())
        else:
            lines.append(f"{key} = {toml.inline(default)}")
    return "\n".join(lines)
