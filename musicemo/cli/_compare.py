"""``musicemo compare``."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated

import typer

from musicemo.cli._options import AllowDifferentTests, Baselines, ComparedRuns, Output
from musicemo.cli._output import prints_data

__all__ = ["add_commands"]


class Form(StrEnum):
    """Output format of a comparison."""

    table = "table"
    csv = "csv"
    json = "json"
    markdown = "markdown"
    latex = "latex"


class ComparedSet(StrEnum):
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
    part: Annotated[ComparedSet, typer.Option(help="Set of tracks to compare on.")] = ComparedSet.test,
    metrics: Annotated[
        bool, typer.Option("--metrics", help="Show every metric, not only the main one.")
    ] = False,
    allow_different_tests: AllowDifferentTests = False,
    confidence: Annotated[
        float, typer.Option(metavar="SHARE", min=0.5, max=0.9999, help="Confidence level of the intervals.")
    ] = 0.95,
    resamples: Annotated[
        int, typer.Option(metavar="N", min=100, help="Number of bootstrap resamples of the tracks.")
    ] = 1000,
    form: Annotated[Form, typer.Option("--format", help="Output format.")] = Form.table,
    output: Output = None,
) -> None:
    """Compare experiments by paired tests.

    Print means over seeds, differences with confidence intervals, and p-values of paired tests. The baseline of a task
    is the first experiment that has the task, so a multitask experiment can be compared with several single-task
    experiments listed before it. All experiments must have the same test tracks.
    """
    import musicemo
    from musicemo.cli._output import check_output, emit, emit_blocks, emit_json
    from musicemo.evaluation import SCORES, EvaluationSettings
    from musicemo.reporting import latex, markdown, tabular
    from musicemo.reporting.blocks import Facts
    from musicemo.reporting.sections.comparison import comparison_blocks, score_blocks

    check_output(output)
    comparison = musicemo.compare(
        runs,
        part=part.value,
        baselines=baselines or [],
        metrics=SCORES if metrics else (),
        settings=EvaluationSettings(confidence=confidence, resamples=resamples),
        allow_different=allow_different_tests,
    )
    if form == Form.json:
        emit_json(tabular.comparison_json(comparison), output)
    elif form == Form.csv:
        emit(tabular.comparison_csv(comparison), output)
    elif form == Form.table:
        blocks = list(comparison_blocks(comparison))
        if part == ComparedSet.test:
            blocks.append(Facts([("Report", _report_command(runs, baselines or [], allow_different_tests))]))
        emit_blocks(blocks, output)
    else:
        render = markdown.render if form == Form.markdown else latex.render
        emit(render(score_blocks(comparison)), output)


def _report_command(runs: Sequence[str], baselines: Sequence[str], allow_different: bool) -> str:
    """Return the command that writes a report of the same comparison."""
    options = [word for baseline in baselines for word in ("--baseline", baseline)]
    options += ["--allow-different-tests"] if allow_different else []
    return shlex.join(["musicemo", "report", *map(str, runs), *options])
