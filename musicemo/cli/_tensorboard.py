"""``musicemo tensorboard``."""

from __future__ import annotations

import contextlib
import io
import sys
import threading
from pathlib import Path
from typing import Annotated

import typer

from musicemo.cli._completion import complete_run
from musicemo.cli._output import emit

__all__ = ["add_commands"]

#: Pattern of event files.
_EVENTS = "events.out.tfevents.*"


def add_commands(app: typer.Typer) -> None:
    """Add ``tensorboard``."""
    app.command()(tensorboard)


def tensorboard(
    runs: Annotated[
        Path,
        typer.Argument(
            metavar="RUNS",
            autocompletion=complete_run,
            help="Folder of runs, an experiment's folder in it, or a run directory.",
        ),
    ] = Path("runs"),
    port: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=65535,
            show_default=False,
            help="Port to serve on, or 0 for any free port. Default: the first free port from 6006.",
        ),
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address to serve on. Use 0.0.0.0 to allow other machines.")
    ] = "localhost",
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open a browser.")] = True,
) -> None:
    """Show finished and running runs in TensorBoard.

    The folder is read again every five seconds. Press Ctrl+C to stop.
    """
    _check(runs)
    url = _serve(runs, host, port)
    emit(f"TensorBoard shows {runs} at {url} (press Ctrl+C to stop)\n")
    if browser and sys.stdout.isatty():
        typer.launch(url)
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        emit("\n")


def _check(runs: Path) -> None:
    from musicemo.errors import InputError

    start = "`musicemo run EXPERIMENT` writes runs to the folder `runs`, or to the folder of --runs"
    if not runs.is_dir():
        raise InputError(f"{runs}: {'is a file' if runs.exists() else 'the folder does not exist'}. {start}")
    if next(runs.rglob(_EVENTS), None) is None:
        raise InputError(f"{runs}: contains no run that TensorBoard can read ({_EVENTS}). {start}")


def _serve(runs: Path, host: str, port: int | None) -> str:
    """Start TensorBoard in a thread and return its address."""
    from tensorboard import program

    from musicemo.errors import InputError
    from musicemo.tracking import tensorboard_plugins

    server = program.TensorBoard(tensorboard_plugins())
    options = ["--logdir", str(runs), "--host", host, "--reload_interval", "5", "--window_title", "musicemo"]
    server.configure(argv=["tensorboard", *options, *(["--port", str(port)] if port is not None else [])])
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # it reports how it reads files
            return server.launch()  # type: ignore[no-any-return]  # untyped in tensorboard
    except program.TensorBoardServerException as error:
        raise InputError(
            f"TensorBoard cannot be served: {error.msg}. Use --port 0 for any free port"
        ) from error
