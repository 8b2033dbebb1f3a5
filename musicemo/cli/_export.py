"""``musicemo export``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from musicemo.cli._options import TrainedRuns, TrustLocalCode

__all__ = ["add_commands"]


class Input(StrEnum):
    """Input of the exported graph."""

    AUTO = "auto"
    AUDIO = "audio"
    FEATURES = "features"


def add_commands(app: typer.Typer) -> None:
    """Add ``export``."""
    app.command()(export)


def export(
    run: TrainedRuns,
    model: Annotated[Path, typer.Argument(metavar="MODEL.onnx", help="Output file.", show_default=False)],
    check: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="SONG",
            help="Song to compare ONNX with torch on. Can be repeated. Default: clips of the run's dataset.",
        ),
    ] = None,
    source: Annotated[
        Input,
        typer.Option(
            "--input",
            help="Input of the graph. Default: audio if an ONNX model computes the features, otherwise features.",
        ),
    ] = Input.AUTO,
    trust: TrustLocalCode = False,
) -> None:
    """Export a run's network as ONNX, and check it.

    The graph takes unscaled features, or the samples of a clip if an ONNX model computes the features. It returns
    ratings in their original units and class probabilities. Its metadata describe how to compute the features. The
    outputs are compared with those of torch. Requires pip install 'musicemo[onnx]'.
    """
    from musicemo.cli._output import emit
    from musicemo.errors import InputError
    from musicemo.prediction import Predictor, export_onnx, find_runs

    if model.suffix.lower() != ".onnx":
        raise InputError(f"{model}: the file name must end with .onnx")
    runs = find_runs(run, trust_local_code=trust)
    if len(runs) > 1:
        listed = ", ".join(str(one.directory) for one in runs)
        raise InputError(
            f"{run}: contains {len(runs)} runs, but an ONNX file holds only one. Name one of {listed}"
        )
    clips: list[Any] = []
    if check:
        predictor = Predictor(runs, sync=None if runs[0].description.extraction else "beat")
        for song in check:
            clips += predictor.clips(predictor.extract(song))[0]
    exported = export_onnx(runs[0], model, clips, input=source.value)
    size = model.stat().st_size / 1e6
    emit(
        f"{model}: {size:.2f} MB; input: {exported.input}; largest difference to torch on {exported.clips} clips: "
        f"{exported.difference:.1e}\n"
    )
