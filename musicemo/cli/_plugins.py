"""``musicemo plugins``."""

from __future__ import annotations

from typing import Annotated

import typer

from musicemo import terminal
from musicemo.cli._options import AsJson
from musicemo.cli._output import emit_json, prints_data
from musicemo.cli._show_plugin import show
from musicemo.components import registry
from musicemo.components.checks import problem_of
from musicemo.components.documentation import row_of
from musicemo.errors import InputError

__all__ = ["add_commands"]


def add_commands(app: typer.Typer) -> None:
    """Add ``plugins`` and ``plugins show``."""
    group = typer.Typer(invoke_without_command=True, callback=plugins)
    group.command()(show)
    app.add_typer(group, name="plugins")


@prints_data
def plugins(
    context: typer.Context,
    as_json: AsJson = False,
    check: Annotated[
        bool,
        typer.Option(
            "--check", help="Import each component to find broken ones. Exit with 2 if there are any."
        ),
    ] = False,
) -> None:
    """List the installed components and plugins.

    Problems are found from files and metadata without importing anything. Use --check to find all problems.
    """
    if context.invoked_subcommand:
        return
    claims = [claim for kind in registry.GROUPS for claim in registry.claims(kind, disabled=True)]
    problems = [problem_of(claim, check=check) for claim in claims]
    if as_json:
        rows = [row_of(claim) | {"problem": problem} for claim, problem in zip(claims, problems, strict=True)]
        emit_json(rows)
    else:
        _print(claims, problems)
    if check and any(problem and not claim.disabled for claim, problem in zip(claims, problems, strict=True)):
        raise typer.Exit(InputError.exit_code)


def _print(claims: list[registry.Claim], problems: list[str | None]) -> None:
    from rich.text import Text

    from musicemo.reporting.terminal import plain_table, print_table

    console = terminal.console(soft_wrap=False)
    read = (
        console.is_terminal
    )  # a person reads: columns that `plugins show` prints are omitted, and a sentence fits its column
    names = ("kind", "name", "distribution", "version", *(() if read else ("defined",)))
    table = plain_table(names[0])
    for column in names[1:]:
        table.add_column(column, no_wrap=True)
    table.add_column("description", no_wrap=not read)
    for claim, problem in zip(claims, problems, strict=True):
        row = row_of(claim)
        state = Text(problem, style="red") if problem else row["summary"]
        table.add_row(*(row[name] for name in names), state)
    print_table(console, table, fold=read)
