"""``musicemo compare``."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from musicemo.cli._options import AllowDifferentTests, Baselines, ComparedRuns, Output
from musicemo.cli._output import prints_data

if TYPE_CHECKING:
    from rich.console import Console

    from musicemo.comparison import Comparison

__all__ = ["add_commands"]


class Form(StrEnum):
    """How a comparison is printed."""

    table = "table"
    csv = "csv"
    json = "json"
    markdown = "markdown"
    latex = "latex"


class Part(StrEnum):
    """Tracks to compare on."""

    test = "test"
    val = "val"
    train = "train"


def add_commands(app: typer.Typer) -> None:
    """Add ``compare``."""
    app.command()(compare)


@prints_data
def compare(
    runs: ComparedRuns,
    baselines: Baselines = None,
    part: Annotated[Part, typer.Option(help="Tracks to compare on.")] = Part.test,
    metrics: Annotated[
        bool, typer.Option("--metrics", help="Every metric, not the leading one alone.")
    ] = False,
    allow_different_tests: AllowDifferentTests = False,
    confidence: Annotated[
        float, typer.Option(metavar="SHARE", min=0.5, max=0.9999, help="Of the intervals.")
    ] = 0.95,
    resamples: Annotated[
        int, typer.Option(metavar="N", min=100, help="Bootstrap resamples of the tracks.")
    ] = 1000,
    form: Annotated[Form, typer.Option("--format", help="How to print it.")] = Form.table,
    output: Output = None,
) -> None:
    """Compare experiments by paired tests.

    Means over seeds, differences and tests. A task's baseline is the first experiment that has it: single-task
    experiments before a multitask one are its baselines together. Experiments must have been tested on the same
    tracks.
    """
    import musicemo
    from musicemo import comparison
    from musicemo.cli._output import check_output, emit, emit_json, emit_tables
    from musicemo.evaluation import CLASSIFICATION, REGRESSION, EvaluationSettings

    check_output(output)
    found = musicemo.compare(
        runs,
        part=part.value,
        baselines=baselines or [],
        metrics=(*REGRESSION, *CLASSIFICATION) if metrics else (),
        settings=EvaluationSettings(confidence=confidence, resamples=resamples),
        allow_different=allow_different_tests,
    )
    if form == Form.json:
        emit_json(comparison.comparison_json(found), output)
    elif form == Form.table:
        emit_tables(lambda console: _print(console, found), output)
    else:
        write = {
            Form.csv: comparison.comparison_csv,
            Form.markdown: comparison.comparison_markdown,
            Form.latex: comparison.comparison_latex,
        }
        emit(write[form](found), output)


def _print(console: Console, comparison: Comparison) -> None:
    from rich.markup import escape

    from musicemo.cli._style import plain_table, print_table
    from musicemo.comparison import notes, tables, verdicts

    for one in comparison.experiments:
        tracks = max(len(task.ids) for task in one.tasks.values())
        folds = f", {len(one.folds)} folds" if one.folds else ""
        seeds = f"{len(one.seeds)} seeds" if len(one.seeds) > 1 else f"seed {one.seeds[0]}"
        console.print(
            f"[bold]{escape(one.name)}[/bold]: {seeds}{folds}, {comparison.part} part, {tracks} tracks"
        )
    for title, columns, rows in tables(comparison):
        console.print()
        table = plain_table(*columns, title=title)
        if columns[0] == "task":
            table.columns[1].justify = "left"
        for row in rows:
            table.add_row(*row)
        print_table(console, table)
    console.print()
    for text in (*verdicts(comparison), *notes(comparison)):
        console.print(text, markup=False)
