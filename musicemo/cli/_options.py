"""Arguments and options that several commands share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from musicemo.cli._completion import complete_experiment, complete_launcher, complete_override, complete_run

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
    "Jobs",
    "LauncherName",
    "Only",
    "Output",
    "Overrides",
    "Resume",
    "RunDevice",
    "RunsFolder",
    "Sync",
    "TrainedRuns",
    "TrustLocalCode",
]


class Format(StrEnum):
    """Output format of results."""

    table = "table"
    json = "json"
    csv = "csv"


class Sync(StrEnum):
    """Time grid of the features."""

    beat = "beat"
    frame = "frame"


_FILE = {"metavar": "EXPERIMENT", "show_default": False, "autocompletion": complete_experiment}

ExperimentFile = Annotated[Path, typer.Argument(help="TOML file of the experiment.", **_FILE)]
ExperimentFiles = Annotated[list[Path], typer.Argument(help="TOML files of experiments.", **_FILE)]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        autocompletion=complete_override,
        help="Override a key of the experiment. The value is TOML or plain text. Can be repeated.",
    ),
]
Only = Annotated[
    list[str] | None,
    typer.Option(
        "--only",
        metavar="AXIS=VALUE",
        help="Select the variants of a matrix with this value. Repeat for more axes, or for more values of one axis.",
        show_default=False,
    ),
]
RunsFolder = Annotated[Path, typer.Option(metavar="DIR", help="Folder of run directories.")]
Jobs = Annotated[
    int | None,
    typer.Option(
        min=1, metavar="N", help="Maximum number of runs at a time (launcher.jobs). Default: one per core."
    ),
]
LauncherName = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        autocompletion=complete_launcher,
        help="Where the runs are executed. Overrides launcher.type. Default: local.",
        show_default=False,
    ),
]
Resume = Annotated[
    bool | None,
    typer.Option(
        "--resume/--no-resume",
        help="Continue unfinished runs and skip finished ones. On by default for a matrix.",
        show_default=False,
    ),
]
RunDevice = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Device: auto, cpu, cuda, cuda:N or mps. Overrides training.device."),
]
TrainedRuns = Annotated[
    Path,
    typer.Argument(
        metavar="RUN",
        autocompletion=complete_run,
        help="Run directory, or an experiment's folder in runs to use all of its finished runs.",
        show_default=False,
    ),
]
ComparedRuns = Annotated[
    list[str],
    typer.Argument(
        metavar="[NAME=]RUN...",
        help="Experiments' folders in runs (all seeds and folds), or run directories.",
        show_default=False,
    ),
]
Baselines = Annotated[
    list[str] | None,
    typer.Option(
        "--baseline",
        metavar="NAME",
        help="Baseline experiment. Can be repeated. Default: the first experiment that has the task.",
        show_default=False,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

AllowDifferentTests = Annotated[
    bool, typer.Option("--allow-different-tests", help="Also compare runs with different test tracks.")
]
FormatOption = Annotated[Format, typer.Option("--format", help="Output format.")]
Output = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Output file. Default: standard output.", show_default=False),
]
Device = Annotated[str, typer.Option(metavar="NAME", help="Device: auto, cpu, cuda, cuda:N or mps.")]
TrustLocalCode = Annotated[
    bool,
    typer.Option(
        "--trust-local-code", help="Execute the code in the run's `code` folder. Read that code first."
    ),
]
