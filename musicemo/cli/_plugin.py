"""``musicemo plugin new``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["add_commands"]


class Kind(StrEnum):
    """Kind of plugin to write."""

    model = "model"
    dataset = "dataset"
    features = "features"
    augmentation = "augmentation"
    sharing = "sharing"
    loss = "loss"
    weighting = "weighting"
    hooks = "hooks"


def add_commands(app: typer.Typer) -> None:
    """Add ``plugin new``."""
    group = typer.Typer(help="Create your own component.", no_args_is_help=True)
    group.callback()(lambda: None)
    group.command()(new)
    app.add_typer(group, name="plugin")


def new(
    name: Annotated[
        str,
        typer.Argument(help="Name of the component in experiments, for example my-crnn.", show_default=False),
    ],
    kind: Annotated[Kind, typer.Option(help="Kind of component.", show_default=False)],
    output: Annotated[Path, typer.Option(metavar="DIR", help="Folder to create the project in.")] = Path(),
    to: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Add the component to the package in this folder instead.", show_default=False
        ),
    ] = None,
) -> None:
    """Create an installable project for a component.

    The project contains tests and an example experiment. With --to, they are added to an existing project.
    """
    from musicemo.authoring.plugin import add_component, new_plugin
    from musicemo.cli._output import emit

    if to is None:
        folder = new_plugin(name, kind.value, output)
        emit(f"Created {folder}. Next:\n  cd {folder}\n  pip install --editable '.[test]'\n  pytest\n")
    else:
        *written, metadata = add_component(name, kind.value, to)
        emit(f"Created {', '.join(map(str, written))}; changed {metadata}. Next:\n")
        emit(f"  cd {to}\n  pip install --editable '.[test]'\n  pytest\n")
