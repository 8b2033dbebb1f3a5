"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["ExperimentFile", "ExperimentFiles", "Overrides"]

_FILE = {"metavar": "EXPERIMENT", "show_default": False}

ExperimentFile = Annotated[Path, typer.Argument(help="The experiment's TOML file.", **_FILE)]
ExperimentFiles = Annotated[list[Path], typer.Argument(help="TOML files of experiments.", **_FILE)]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Override a key of the file; the value is TOML, or plain text. Give it as often as you like.",
    ),
]
