"""``musicemo data``."""

from __future__ import annotations

import dataclasses
import json
from typing import Annotated

import typer

from musicemo.cli._options import ExperimentFile, Overrides

__all__ = ["add_commands"]


def add_commands(app: typer.Typer) -> None:
    """Add ``data``."""
    app.command()(data)


def data(
    experiment: ExperimentFile,
    overrides: Overrides = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Look at an experiment's data and its split.

    Tracks, parts, classes before and after merging, ratings, lengths, missing targets, suspected leaks.
    """
    from musicemo.assembly import read_tracks, split_tracks
    from musicemo.cli import _summary
    from musicemo.data import Features, summarize
    from musicemo.experiment import load_experiment

    loaded = load_experiment(experiment, overrides or [])
    tracks = read_tracks(loaded)
    split = split_tracks(loaded, tracks, loaded.replicates()[0][1])
    summary = summarize(tracks, split, Features(tracks.tracks, tracks.rows, loaded.training.cache))
    if as_json:
        typer.echo(json.dumps(dataclasses.asdict(summary), indent=2))
    else:
        _summary.print_summary(loaded.dataset.name, loaded.split.method, summary)
