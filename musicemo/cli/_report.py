"""``musicemo report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from musicemo.cli._options import AllowDifferentTests, Baselines, ComparedRuns, TrustLocalCode

__all__ = ["add_commands"]


def add_commands(app: typer.Typer) -> None:
    """Add ``report``."""
    app.command()(report)


def report(
    runs: ComparedRuns,
    output: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="HTML file. Default: report.html in RUN, or in the working directory for several runs.",
            show_default=False,
        ),
    ] = None,
    figures: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Also write each chart as PNG and SVG to this folder.", show_default=False
        ),
    ] = None,
    audio: Annotated[
        bool,
        typer.Option("--audio", help="Also write excerpts of the tracks in the report, with players."),
    ] = False,
    baselines: Baselines = None,
    allow_different_tests: AllowDifferentTests = False,
    trust: TrustLocalCode = False,
) -> None:
    """Write an HTML report of one run, or comparing several.

    The page is one self-contained HTML file with results and confidence intervals, predictions, learning curves, task
    weights, the experiment, its data and its environment. It also shows a run that failed or is still in progress.
    """
    from musicemo.cli._output import check_output, emit
    from musicemo.errors import InputError
    from musicemo.reporting import add_players, make_comparison, make_report, write_figures, write_report

    check_output(output)
    if audio and len(runs) > 1:
        raise InputError("--audio: needs one run or experiment. A comparison lists no tracks")
    if len(runs) == 1:
        page, path = make_report(Path(runs[0])), Path(runs[0]) / "report.html"
    else:
        page = make_comparison(runs, baselines=baselines or [], allow_different=allow_different_tests)
        path = Path("report.html")
    path = output or path
    if audio:
        page = add_players(page, path, Path(runs[0]), trust_local_code=trust)
    emit(f"{write_report(page, path)}\n")
    if figures:
        written = write_figures(page, figures)
        emit(f"{len(written)} files in {figures}\n")
