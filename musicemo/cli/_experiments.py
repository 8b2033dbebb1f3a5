"""``musicemo validate``, ``musicemo show`` and ``musicemo schema``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from musicemo.cli._options import ExperimentFile, ExperimentFiles, Output, Overrides

__all__ = ["add_commands"]


def add_commands(app: typer.Typer) -> None:
    """Add ``validate``, ``show`` and ``schema``."""
    app.command()(validate)
    app.command()(show)
    app.command()(schema)


def validate(
    experiments: ExperimentFiles,
    overrides: Overrides = None,
    data: Annotated[
        bool, typer.Option("--data/--no-data", help="Whether to read the dataset and make the split too.")
    ] = True,
) -> None:
    """Check experiments and their data without training."""
    from rich.console import Console

    from musicemo.experiment import load_experiment
    from musicemo.pipeline import check_experiment

    console = Console(highlight=False, soft_wrap=True)
    for experiment in [load_experiment(file, overrides or []) for file in experiments]:
        tail = ""
        if data:
            checked = check_experiment(experiment)
            sizes = ", ".join(f"{count} {part}" for part, count in checked.tracks.items())
            tail = f"; tracks: {sizes}; {checked.parameters:,} parameters"
        if experiment.code:
            files = dict.fromkeys(_shown(found.path) for found in experiment.code)
            tail += f"; runs code from {', '.join(files)}"
        count = len(experiment.replicates())
        tasks = ", ".join(experiment.tasks)
        console.print(
            f"{experiment.source.file}: valid: {experiment.model.name} on {experiment.dataset.name} for {tasks}"
            f", {count} run{'s' if count > 1 else ''}{tail}",
            markup=False,
        )


def _shown(path: Path) -> str:
    """Return a path as it is read best: from the working directory where it is below that."""
    return f"./{path.relative_to(Path.cwd())}" if path.is_relative_to(Path.cwd()) else str(path)


def show(experiment: ExperimentFile, overrides: Overrides = None) -> None:
    """Print an experiment with its defaults filled in.

    A comment at each value says where it came from: a line of a file, --set, or the default.
    """
    from rich.console import Console
    from rich.syntax import Syntax

    from musicemo import _toml
    from musicemo.experiment import load_experiment

    loaded = load_experiment(experiment, overrides or [])
    text = _toml.write(loaded.resolved(), loaded.source)
    console = Console(highlight=False, soft_wrap=True)
    if console.is_terminal:
        console.print(Syntax(text, "toml", background_color="default"))
    else:
        typer.echo(text, nl=False)


def schema(output: Output = None) -> None:
    """Print the JSON Schema of experiment files, for editors.

    It has the parameters of every component that is installed. An editor that knows TOML completes and checks a
    file whose first line is "#:schema FILE".
    """
    from musicemo.cli._output import check_output, emit_json
    from musicemo.json_schema import experiment_schema

    check_output(output)
    emit_json(experiment_schema(), output)
