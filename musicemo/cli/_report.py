"""``musicemo report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from musicemo.cli._options import AllowDifferentTests, Baselines, ComparedRuns

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
            help="The HTML file; otherwise report.html in RUN, or in this folder if there are several.",
            show_default=False,
        ),
    ] = None,
    figures: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write each chart as PNG and SVG, too.", show_default=False),
    ] = None,
    baselines: Baselines = None,
    allow_different_tests: AllowDifferentTests = False,
) -> None:
    """Show a run, or compare several, on one page.

    One HTML file that stands alone: results with intervals, predictions, curves, weights, the experiment, its data and
    where it ran. A single run that failed or is under way is shown as far as it got.
    """
    from musicemo.cli._output import check_output, emit
    from musicemo.reporting import make_comparison, make_report, write_figures, write_report

    check_output(output)
    if len(runs) == 1:
        page, path = make_report(Path(runs[0])), Path(runs[0]) / "report.html"
    else:
        page = make_comparison(runs, baselines=baselines or [], allow_different=allow_different_tests)
        path = Path("report.html")
    emit(f"{write_report(page, output or path)}\n")
    if figures:
        written = write_figures(page, figures)
        emit(f"{len(written)} files in {figures}\n")
