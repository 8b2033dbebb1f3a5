"""``musicemo listen``."""

from __future__ import annotations

import sys
import threading
from typing import Annotated

import typer

from musicemo.cli._options import Device, Sync, TrainedRuns, TrustLocalCode
from musicemo.cli._output import emit

__all__ = ["add_commands"]


def add_commands(app: typer.Typer) -> None:
    """Add ``listen``."""
    app.command()(listen)


def listen(
    run: TrainedRuns,
    songs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[SONG...]",
            help="Audio files, folders or glob patterns to list on the page.",
            show_default=False,
        ),
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to serve on, or 0 for any free port.")] = 0,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open a browser.")] = True,
    window: Annotated[
        float, typer.Option(metavar="SECONDS", help="Length of the windows of the predictions over time.")
    ] = 10.0,
    hop: Annotated[float, typer.Option(metavar="SECONDS", help="Step between these windows.")] = 2.0,
    sync: Annotated[
        Sync | None, typer.Option(help="Time grid of the run's features, if its dataset does not record it.")
    ] = None,
    device: Device = "auto",
    trust: TrustLocalCode = False,
) -> None:
    """Play songs on a local page, with their predictions.

    Drop songs on the page, or choose tracks of the run's dataset. The page shows genre, emotions over time, the error
    of each prediction on held-out tracks, and the spectrogram with beats. Only this machine can open it. Press Ctrl+C
    to stop. Requires pip install 'musicemo[listen]'.
    """
    from musicemo.errors import InputError
    from musicemo.features import songs_in
    from musicemo.listening import Listener, serving

    paths = []
    for source in songs or []:
        sources = songs_in(source)
        if not sources:
            raise InputError(f"{source}: there is no such song, or no song in this folder")
        paths += sources
    listener = Listener.of_run(
        run,
        window=window,
        hop=hop,
        sync=sync.value if sync else None,
        device=device,
        trust_local_code=trust,
    )
    with serving(listener, paths, port) as address:
        emit(f"Listening with {run} at {address} (press Ctrl+C to stop)\n")
        if browser and sys.stdout.isatty():
            typer.launch(address)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            emit("\n")
