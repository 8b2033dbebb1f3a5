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

#: What its writer calls its files.
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
            help="The folder of runs, an experiment's folder in it, or one run.",
        ),
    ] = Path("runs"),
    port: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=65535,
            show_default=False,
            help="The port; 0 for any that is free. By default 6006, or the first free one after it.",
        ),
    ] = None,
    host: Annotated[
        str, typer.Option(help="The address to serve on; 0.0.0.0 shows it to other machines.")
    ] = "localhost",
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Whether to open it in a browser.")
    ] = True,
) -> None:
    """Look at runs in TensorBoard, those under way too.

    It reads the folder anew every five seconds, and ends with Ctrl+C.
    """
    _check(runs)
    url = _serve(runs, host, port)
    emit(f"TensorBoard shows {runs} at {url} (Ctrl+C ends it)\n")
    if browser and sys.stdout.isatty():
        typer.launch(url)
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        emit("\n")


def _check(runs: Path) -> None:
    from musicemo.errors import InputError

    start = "musicemo run EXPERIMENT leaves runs behind, in the folder runs unless --runs names another"
    if not runs.is_dir():
        raise InputError(f"{runs}: {'is a file' if runs.exists() else 'there is no such folder'}; {start}")
    if next(runs.rglob(_EVENTS), None) is None:
        raise InputError(f"{runs}: there is no run in it that TensorBoard can read ({_EVENTS}); {start}")


def _serve(runs: Path, host: str, port: int | None) -> str:
    """Start TensorBoard in a thread and return its address."""
    from tensorboard import program

    from musicemo.errors import InputError

    server = program.TensorBoard()
    options = ["--logdir", str(runs), "--host", host, "--reload_interval", "5", "--window_title", "musicemo"]
    server.configure(argv=["tensorboard", *options, *(["--port", str(port)] if port is not None else [])])
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # which way of reading files it takes is its own affair
            return server.launch()  # type: ignore[no-any-return]  # untyped in tensorboard
    except program.TensorBoardServerException as error:
        raise InputError(f"TensorBoard cannot be served: {error.msg}; --port 0 takes any free port") from error
