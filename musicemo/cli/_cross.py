"""``musicemo cross``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from musicemo.cli._options import ExperimentFiles, Jobs, LauncherName, Only, Overrides, RunDevice, RunsFolder
from musicemo.cli._output import emit, emit_blocks
from musicemo.cli._run import Printer

__all__ = ["add_commands"]


def add_commands(app: typer.Typer) -> None:
    """Add ``cross``."""
    app.command()(cross)


def cross(
    context: typer.Context,
    experiments: ExperimentFiles,
    overrides: Overrides = None,
    only: Only = None,
    runs: RunsFolder = Path("runs"),
    name: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Folder of the results in DIR. Default: cross-A-B.", show_default=False
        ),
    ] = None,
    joint: Annotated[
        bool,
        typer.Option("--joint/--no-joint", help="Also train on all datasets together, and on all but one."),
    ] = True,
    audio: Annotated[
        bool,
        typer.Option("--audio/--no-audio", help="Compare the sound of audio files, to find shared music."),
    ] = True,
    jobs: Jobs = None,
    launcher: LauncherName = None,
    device: RunDevice = None,
) -> None:
    """Train on each of several datasets, and test on each.

    Each experiment has one dataset. Models are trained on each dataset, on all together and on all but one, and tested
    on the test set of each, for every task that datasets share. Finished runs are kept, so that the same command
    continues. The results are a table, and a page with heat maps (report.html), JSON, CSV and LaTeX.
    """
    import musicemo
    from musicemo.experiment import load_experiment
    from musicemo.files import write_text
    from musicemo.reporting import latex, make_cross_page, tabular, write_report
    from musicemo.reporting.sections.cross import cross_blocks

    crossed = musicemo.cross(
        [load_experiment(file, overrides or [], only or []) for file in experiments],
        runs,
        name=name,
        joint=joint,
        audio=audio,
        device=device,
        jobs=jobs,
        launcher=launcher,
        hooks=context.obj,
        observer=Printer(brief=True),
    )
    blocks = cross_blocks(crossed)
    page = write_report(make_cross_page(crossed), crossed.folder / "report.html")
    write_text(crossed.folder / "cross.csv", tabular.cross_csv(crossed))
    write_text(crossed.folder / "cross.tex", latex.render(blocks))
    if crossed.skipped:
        emit("Nothing to do: all runs were finished and evaluated before.\n")
    emit("\n")
    emit_blocks(blocks)
    emit(f"\nReport: {page}\n")
