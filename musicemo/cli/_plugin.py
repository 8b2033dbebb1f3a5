"""``musicemo plugin new``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["add_commands"]


class Kind(StrEnum):
    """What can be made."""

    model = "model"
    dataset = "dataset"
    loss = "loss"
    weighting = "weighting"
    hooks = "hooks"


def add_commands(app: typer.Typer) -> None:
    """Add ``plugin new``."""
    group = typer.Typer(help="Begin a component of your own.", no_args_is_help=True)
    group.callback()(lambda: None)
    group.command()(new)
    app.add_typer(group, name="plugin")


def new(
    name: Annotated[str, typer.Argument(help="What experiments will call it: my-crnn.", show_default=False)],
    kind: Annotated[Kind, typer.Option(help="What it is.", show_default=False)],
    output: Annotated[Path, typer.Option(metavar="DIR", help="Where the project's folder is made.")] = Path(),
) -> None:
    """Write a project for a component: installable, tested, with an example that runs."""
    from musicemo.authoring.plugin import new_plugin
    from musicemo.cli._output import emit

    folder = new_plugin(name, kind.value, output)
    emit(f"{folder}: written; next:\n  cd {folder}\n  pip install --editable '.[test]'\n  pytest\n")
