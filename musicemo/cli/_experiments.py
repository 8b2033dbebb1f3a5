"""``musicemo validate``, ``musicemo show`` and ``musicemo schema``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from musicemo import terminal
from musicemo.cli._options import ExperimentFile, ExperimentFiles, Only, Output, Overrides
from musicemo.cli._output import emit, emit_blocks
from musicemo.errors import InputError

if TYPE_CHECKING:
    from musicemo.components.local import Policy
    from musicemo.experiment import Experiment
    from musicemo.running.preview import Preview

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
        bool, typer.Option("--data/--no-data", help="Read the dataset and compute the split.")
    ] = True,
    runs: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder with the source runs of [transfer].")
    ] = Path("runs"),
) -> None:
    """Check experiments and their data without training.

    A single experiment is explained part by part. With --no-data, no code of the experiment is executed, and the keys
    of a component in a local file are checked against its source code.
    """
    from musicemo.experiment import load_experiments
    from musicemo.terminal import say

    console = terminal.console()
    loaded: list[Experiment] = []
    problems: list[str] = []
    for file in experiments:
        try:
            policy: Policy = "execute" if data else "read"
            loaded += load_experiments(file, overrides or [], only or [], local_code=policy)
        except InputError as error:
            problems += error.problems
    previews = _previews(loaded, runs) if data else [None] * len(loaded)
    for experiment, preview in zip(loaded, previews, strict=True):
        if isinstance(preview, InputError):
            problems += preview.problems
            continue
        console.print(_valid(experiment, preview), markup=False)
        if preview is not None and len(experiments) == len(loaded) == 1:
            from musicemo.reporting.sections.preview import explanation_blocks

            emit_blocks(explanation_blocks(preview))
        if preview is None and experiment.transfer is not None:
            from musicemo.running.preview import check_source

            try:
                check_source(experiment, runs, [one.name for one in loaded if one is not experiment])
            except InputError as error:
                say("warning", "yellow", str(error))
    if problems:
        raise InputError(*dict.fromkeys(problems))


def _previews(experiments: Sequence[Experiment], runs: Path) -> Sequence[Preview | InputError | None]:
    from musicemo.running.preview import check_experiments

    return check_experiments(experiments, runs)


def _valid(experiment: Experiment, preview: Preview | None) -> str:
    """Return the line of a valid experiment."""
    tail = ""
    if preview is not None:
        sizes = ", ".join(f"{count} {part}" for part, count in preview.tracks.items())
        tail = f"; tracks: {sizes}; {preview.parameters:,} parameters"
    if experiment.code:
        files = ", ".join(dict.fromkeys(_shown(code.path) for code in experiment.code))
        tail += f"; runs code from {files}" + (" (not executed)" if preview is None else "")
    if unchecked := experiment.unchecked:
        tail += f"; the keys of {', '.join(unchecked)} were not checked"
    count = experiment.run_count
    search = f"search of {experiment.search.trials} trials, at most " if experiment.search else ""
    name = f" {experiment.name}:" if experiment.variant else ""
    return (
        f"{experiment.source.file}:{name} valid: {experiment.model.name} on {experiment.dataset.name} for "
        f"{', '.join(experiment.tasks)}, {search}{count} run{'s' if count > 1 else ''}{tail}"
    )


def _shown(path: Path) -> str:
    """Return a path as it is read best: from the working directory where it is below that."""
    return f"./{path.relative_to(Path.cwd())}" if path.is_relative_to(Path.cwd()) else str(path)


def show(experiment: ExperimentFile, overrides: Overrides = None, only: Only = None) -> None:
    """Print an experiment with its defaults filled in.

    For a file with a matrix, print the list of variants. A comment at each value names its origin: a line of a file,
    --set, or the default. No code of the experiment is executed, so components in local files are printed without
    defaults.
    """
    from rich.syntax import Syntax

    from musicemo import toml
    from musicemo.experiment import load_experiments
    from musicemo.terminal import say

    first, *others = load_experiments(experiment, overrides or [], only or [], local_code="read")
    if others:
        _list([first, *others])
        return
    if first.code:
        files = ", ".join(dict.fromkeys(_shown(code.path) for code in first.code))
        say(
            "note",
            "cyan",
            f"{files} was not executed: its components are shown without defaults",
        )
    text = toml.write(first.resolved(), first.source)
    console = terminal.console()
    if console.is_terminal:
        console.print(Syntax(text, "toml", background_color="default"))
    else:
        emit(text)


def _list(variants: Sequence[Experiment]) -> None:
    """Print the variants of a matrix with their values."""
    from musicemo.reporting.blocks import Column, Table, Text

    axes = list(dict.fromkeys(axis for variant in variants for axis in variant.variant))
    columns = [Column(name, text=True) for name in ("experiment", *axes)]
    rows = [
        [
            variant.name,
            *(str(variant.variant.get(axis, "")) for axis in axes),
            str(len(variant.replicates())),
        ]
        for variant in variants
    ]
    ensembles = {one.ensemble.name: one.ensemble for one in variants if one.ensemble}
    texts = [
        f"{ensemble.name}: mean of {len(ensemble.members)} experiment{'s' * (len(ensemble.members) > 1)}"
        for ensemble in ensembles.values()
    ]
    if any(ensemble.settings.members for ensemble in ensembles.values()):
        texts.append(f"{len(variants)} members; show the file of one to see its keys")
    else:
        only = " ".join(f"--only {axis}=VALUE" for axis in axes)
        texts.append(f"{len(variants)} variants; add {only} to show the keys of one")
    emit_blocks([Table([*columns, "runs"], rows), Text(""), *map(Text, texts)])


def schema(output: Output = None) -> None:
    """Print the JSON Schema of experiment files, for editors.

    The schema contains the parameters of every installed component. An editor with TOML support completes and checks an
    experiment file whose first line is "#:schema FILE".
    """
    from musicemo.cli._output import check_output, emit_json
    from musicemo.experiment.json_schema import experiment_schema

    check_output(output)
    emit_json(experiment_schema(), output)
