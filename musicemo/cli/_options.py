"""Arguments and options that several commands share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from musicemo.cli._completion import complete_experiment, complete_override, complete_run

__all__ = [
    "AllowDifferentTests",
    "AsJson",
    "Baselines",
    "ComparedRuns",
    "Device",
    "ExperimentFile",
    "ExperimentFiles",
    "Format",
    "FormatOption",
    "Only",
    "Output",
    "Overrides",
    "Sync",
    "TrainedRuns",
    "TrustLocalCode",
]


class Format(StrEnum):
    """How results are printed."""

    table = "table"
    json = "json"
    csv = "csv"


class Sync(StrEnum):
    """What a column of the features is."""

    beat = "beat"
    frame = "frame"


_FILE = {"metavar": "EXPERIMENT", "show_default": False, "autocompletion": complete_experiment}

ExperimentFile = Annotated[Path, typer.Argument(help="The experiment's TOML file.", **_FILE)]
ExperimentFiles = Annotated[list[Path], typer.Argument(help="TOML files of experiments.", **_FILE)]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        autocompletion=complete_override,
        help="Override a key of the file; the value is TOML, or plain text. Give it as often as you like.",
    ),
]
Only = Annotated[
    list[str] | None,
    typer.Option(
        "--only",
        metavar="AXIS=VALUE",
        help="Of a file with a matrix: the variants with that value. Several of one axis are alternatives.",
        show_default=False,
    ),
]
TrainedRuns = Annotated[
    Path,
    typer.Argument(
        metavar="RUN",
        autocompletion=complete_run,
        help="A run directory, or an experiment's folder in runs: its finished runs are replicates.",
        show_default=False,
    ),
]
ComparedRuns = Annotated[
    list[str],
    typer.Argument(
        metavar="[NAME=]RUN...",
        help="Experiments' folders in runs, all of whose seeds and folds count, or run directories.",
        show_default=False,
    ),
]
Baselines = Annotated[
    list[str] | None,
    typer.Option(
        "--baseline",
        metavar="NAME",
        help="Compare with this one; may be given several times. Otherwise with the first that has the task.",
        show_default=False,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead.")]

AllowDifferentTests = Annotated[
    bool, typer.Option("--allow-different-tests", help="Compare runs that were tested on other tracks, too.")
]
FormatOption = Annotated[Format, typer.Option("--format", help="How to print it.")]
Output = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Write to a file instead of standard output.", show_default=False),
]
Device = Annotated[str, typer.Option(metavar="NAME", help="auto, cpu, cuda or mps.")]
TrustLocalCode = Annotated[
    bool,
    typer.Option(
        "--trust-local-code", help="Execute the code that the run keeps in its folder code: read it first."
    ),
]
