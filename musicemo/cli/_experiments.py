"""``musicemo validate``, ``musicemo show`` and ``musicemo schema``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from musicemo.cli._options import ExperimentFile, ExperimentFiles, Only, Output, Overrides
from musicemo.errors import InputError

if TYPE_CHECKING:
    from musicemo.experiment import Experiment

__all__ = ["add_commands"]


def add_commands(app: typer.Typer) -> None:
    """Add ``validate``, ``show`` and ``schema``."""
    app.command()(validate)
    app.command()(show)
    app.command()(schema)


def validate(
    experiments: ExperimentFiles,
    overrides: Overrides = None,
    only: Only = None,
    data: Annotated[
        bool, typer.Option("--data/--no-data", help="Whether to read the dataset and make the split too.")
    ] = True,
) -> None:
    """Check experiments and their data without training.

    Of a single experiment it says what each part of it is, and what each task would learn.
    """
    from rich.console import Console

    from musicemo.cli._preview import print_explanation
    from musicemo.experiment import load_experiments
    from musicemo.preview import check_experiment

    console = Console(emoji=False, highlight=False, soft_wrap=True)
    loaded: list[Experiment] = []
    problems: list[str] = []
    for file in experiments:
        try:
            loaded += load_experiments(file, overrides or [], only or [])
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(*problems)
    for experiment in loaded:
        tail = ""
        if data:
            checked = check_experiment(experiment)
            sizes = ", ".join(f"{count} {part}" for part, count in checked.tracks.items())
            tail = f"; tracks: {sizes}; {checked.parameters:,} parameters"
        if experiment.code:
            code = dict.fromkeys(_shown(found.path) for found in experiment.code)
            tail += f"; runs code from {', '.join(code)}"
        count = len(experiment.replicates())
        tasks = ", ".join(experiment.tasks)
        name = f" {experiment.name}:" if experiment.variant else ""
        console.print(
            f"{experiment.source.file}:{name} valid: {experiment.model.name} on {experiment.dataset.name} for {tasks}"
            f", {count} run{'s' if count > 1 else ''}{tail}",
            markup=False,
        )
        if data and len(loaded) == 1:
            print_explanation(console, checked)


def _shown(path: Path) -> str:
    """Return a path as it is read best: from the working directory where it is below that."""
    return f"./{path.relative_to(Path.cwd())}" if path.is_relative_to(Path.cwd()) else str(path)


def show(experiment: ExperimentFile, overrides: Overrides = None, only: Only = None) -> None:
    """Print an experiment, its defaults filled in.

    Of one with a matrix, its variants. A comment at each value says where it came from: a line of a file, --set, or
    the default.
    """
    from rich.console import Console
    from rich.syntax import Syntax

    from musicemo import _toml
    from musicemo.experiment import load_experiments

    first, *others = load_experiments(experiment, overrides or [], only or [])
    if others:
        _list([first, *others])
        return
    text = _toml.write(first.resolved(), first.source)
    console = Console(emoji=False, highlight=False, soft_wrap=True)
    if console.is_terminal:
        console.print(Syntax(text, "toml", background_color="default"))
    else:
        typer.echo(text, nl=False)


def _list(variants: Sequence[Experiment]) -> None:
    """Print the variants of a matrix with their values."""
    from rich.console import Console

    from musicemo.cli._style import plain_table, print_table

    table = plain_table("experiment")
    for axis in variants[0].variant:
        table.add_column(axis)
    table.add_column("runs", justify="right")
    for variant in variants:
        values = (str(value) for value in variant.variant.values())
        table.add_row(variant.name, *values, str(len(variant.replicates())))
    console = Console(emoji=False, highlight=False, soft_wrap=True)
    print_table(console, table)
    axes = " ".join(f"--only {axis}=VALUE" for axis in variants[0].variant)
    console.print(f"\n{len(variants)} variants; {axes} shows one with its keys", markup=False)


def schema(output: Output = None) -> None:
    """Print the JSON Schema of experiment files, for editors.

    It has the parameters of every component that is installed. An editor that knows TOML completes and checks a
    file whose first line is "#:schema FILE".
    """
    from musicemo.cli._output import check_output, emit_json
    from musicemo.json_schema import experiment_schema

    check_output(output)
    emit_json(experiment_schema(), output)
