"""``musicemo export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from musicemo.cli._options import TrainedRuns, TrustLocalCode

__all__ = ["add_commands"]


def add_commands(app: typer.Typer) -> None:
    """Add ``export``."""
    app.command()(export)


def export(
    run: TrainedRuns,
    model: Annotated[Path, typer.Argument(metavar="MODEL.onnx", help="The file to write.", show_default=False)],
    check: Annotated[
        list[Path] | None,
        typer.Option(metavar="SONG", help="Compare with torch on this song, instead of the run's dataset."),
    ] = None,
    trust: TrustLocalCode = False,
) -> None:
    """Export a run's network as an ONNX file, compared with torch.

    The graph takes features that are not scaled and gives ratings in their own units and probabilities; its metadata
    say how to make the features. Needs pip install 'musicemo[onnx]'.
    """
    from musicemo.cli._output import emit
    from musicemo.errors import InputError
    from musicemo.prediction import Predictor, export_onnx, find_runs

    if model.suffix.lower() != ".onnx":
        raise InputError(f"{model}: the file's name must end with .onnx")
    runs = find_runs(run, trust_local_code=trust)
    if len(runs) > 1:
        listed = ", ".join(str(one.directory) for one in runs)
        raise InputError(f"{run}: has {len(runs)} runs, and a file has room for one; name one of {listed}")
    clips: list[Any] = []
    if check:
        predictor = Predictor(runs, sync=runs[0].description.sync or "beat")
        for song in check:
            clips += predictor.clips(predictor.analyse(song))[0]
    exported = export_onnx(runs[0], model, clips)
    size = model.stat().st_size / 1e6
    emit(
        f"{model}: {size:.2f} MB; largest difference to torch on {exported.clips} clips: {exported.difference:.1e}\n"
    )
