"""``musicemo plugins``."""

from __future__ import annotations

from typing import Annotated

import typer

from musicemo import terminal
from musicemo.cli._options import AsJson
from musicemo.cli._output import emit, emit_json, prints_data
from musicemo.cli._show_plugin import show
from musicemo.components import registry
from musicemo.components.checks import problem_of
from musicemo.components.documentation import row_of
from musicemo.errors import InputError, nearest

__all__ = ["add_commands"]

#: Number of broken components that the verdict names.
_NAMED = 3


def add_commands(app: typer.Typer) -> None:
    """Add ``plugins`` and ``plugins show``."""
    group = typer.Typer(invoke_without_command=True, callback=plugins)
    group.command()(show)
    app.add_typer(group, name="plugins")


@prints_data
def plugins(
    context: typer.Context,
    kind: Annotated[
        str | None,
        typer.Option(metavar="KIND", help=f"Only this kind: {', '.join(registry.GROUPS)}.", show_default=False),
    ] = None,
    package: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Only the components of this package.", show_default=False),
    ] = None,
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
    claims = _selected(kind, package)
    problems = [problem_of(claim, check=check) for claim in claims]
    broken = [claim for claim, problem in zip(claims, problems, strict=True) if problem and not claim.disabled]
    if as_json:
        rows = [row_of(claim) | {"problem": problem} for claim, problem in zip(claims, problems, strict=True)]
        emit_json(rows)
    else:
        _print(claims, problems)
        if check:
            emit(f"\n{_verdict(claims, broken)}\n")
    if check and broken:
        raise typer.Exit(InputError.exit_code)


def _selected(kind: str | None, package: str | None) -> list[registry.Claim]:
    """Return the claims of a kind and of a package, or all.

    Raises:
        InputError: There is no such kind, or no package of this name has components.
    """
    if kind is not None and kind not in registry.GROUPS:
        raise InputError(
            f"--kind {kind}: must be one of {', '.join(registry.GROUPS)}{nearest(kind, registry.GROUPS)}"
        )
    every = [claim for one in registry.GROUPS for claim in registry.claims(one, disabled=True)]
    packages = sorted({claim.distribution for claim in every})
    wanted = package and registry.normalized(package)
    if wanted and wanted not in map(registry.normalized, packages):
        raise InputError(
            f"--package {package}: no installed package with components has this name (installed: "
            f"{', '.join(packages)}){nearest(str(package), packages)}"
        )
    return [
        claim
        for claim in every
        if kind in (None, claim.kind) and (not wanted or registry.normalized(claim.distribution) == wanted)
    ]


def _verdict(claims: list[registry.Claim], broken: list[registry.Claim]) -> str:
    from musicemo.reporting.words import plural

    packages = len({claim.distribution for claim in claims})
    checked = f"{plural(len(claims), 'component')} of {plural(packages, 'package')}"
    if not broken:
        return f"{checked}: all can be loaded"
    names = ", ".join(f"{claim.kind} {claim.name}" for claim in broken[:_NAMED])
    more = f", and {len(broken) - _NAMED} more" if len(broken) > _NAMED else ""
    return f"{checked}: {len(broken)} cannot be loaded ({names}{more})"


def _print(claims: list[registry.Claim], problems: list[str | None]) -> None:
    """Print a table. On a terminal it fits into 80 columns: `plugins show` prints what it leaves out."""
    from rich.text import Text

    from musicemo.reporting.terminal import plain_table, print_table

    console = terminal.console(soft_wrap=False)
    read = console.is_terminal
    several = len({claim.distribution for claim in claims}) > 1
    names: tuple[str, ...] = ("kind", "name", "distribution", "version", "defined")
    if read:
        names = ("kind", "name", "distribution") if several else ("kind", "name")
    table = plain_table(names[0])
    for column in names[1:]:
        table.add_column(column, no_wrap=True)
    table.add_column("description", no_wrap=not read)
    for claim, problem in zip(claims, problems, strict=True):
        row = row_of(claim)
        state = Text(problem, style="red") if problem else row["summary"]
        table.add_row(*(row[name] for name in names), state)
    print_table(console, table, fold=read)
