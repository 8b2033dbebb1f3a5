"""``musicemo report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from musicemo.cli._options import TrainedRuns

__all__ = ["add_commands"]


def add_commands(app: typer.Typer) -> None:
    """Add ``report``."""
    app.command()(report)


def report(
    run: TrainedRuns,
    output: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The HTML file; report.html in RUN otherwise.", show_default=False),
    ] = None,
    figures: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write each chart as PNG and SVG, too.", show_default=False),
    ] = None,
) -> None:
    """Show what a run did, on one page.

    One HTML file that stands alone: results with intervals, predictions, curves, weights, the experiment, its data and
    where it ran. Runs that failed or are under way are shown as far as they got.
    """
    from musicemo.cli._output import check_output
    from musicemo.report import make_report, write_figures, write_report

    check_output(output)
    page = make_report(run)
    typer.echo(write_report(page, output or run / "report.html"))
    if figures:
        written = write_figures(page, figures)
        typer.echo(f"{len(written)} files in {figures}")
