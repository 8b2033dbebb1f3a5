"""``musicemo plugins``."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from musicemo import registry

__all__ = ["add_commands"]


def add_commands(app: typer.Typer) -> None:
    """Add ``plugins``."""
    app.command()(plugins)


def plugins(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """List the installed components and plugins."""
    from rich.console import Console

    from musicemo.cli._style import plain_table, print_table

    found = [claim for kind in registry.GROUPS for claim in registry.claims(kind)]
    if as_json:
        rows = [
            {
                "kind": claim.kind,
                "name": claim.name,
                "distribution": claim.distribution,
                "version": claim.version,
            }
            for claim in found
        ]
        typer.echo(json.dumps(rows, indent=2))
        return
    table = plain_table("kind")
    for column in ("name", "distribution", "version"):
        table.add_column(column, no_wrap=True)
    for claim in found:
        table.add_row(claim.kind, claim.name, claim.distribution, claim.version)
    print_table(Console(), table)
