"""``musicemo data``."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from musicemo import terminal
from musicemo.cli._completion import complete_component, complete_experiment
from musicemo.cli._options import AsJson, Only, Overrides
from musicemo.cli._output import emit, emit_blocks, emit_json, prints_data
from musicemo.errors import InputError

if TYPE_CHECKING:
    from musicemo.experiment import Experiment

__all__ = ["add_commands"]

_log = logging.getLogger(__name__)


def add_commands(app: typer.Typer) -> None:
    """Add ``data``."""
    app.command()(data)


def _experiment_or_dataset(incomplete: str) -> list[str]:
    return [*complete_experiment(incomplete), *complete_component(incomplete, "dataset")]


@prints_data
def data(
    experiment: Annotated[
        Path,
        typer.Argument(
            metavar="EXPERIMENT",
            show_default=False,
            autocompletion=_experiment_or_dataset,
            help="TOML file of the experiment. With --cite also the name of a dataset.",
        ),
    ],
    overrides: Overrides = None,
    only: Only = None,
    as_json: AsJson = False,
    audio: Annotated[
        bool,
        typer.Option("--audio/--no-audio", help="Compare the sound of audio files, which are decoded once."),
    ] = True,
    runs: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder with the source runs of [transfer].")
    ] = Path("runs"),
    cite: Annotated[bool, typer.Option("--cite", help="Print the citation and license of the data.")] = False,
) -> None:
    """Summarize an experiment's data and split.

    Print the number of tracks in each set, classes before and after merging, rating statistics, track lengths, missing
    targets, suspected leaks, and labels of joined datasets that contradict each other. Of a matrix whose variants have
    the same tracks, tasks and split, the first variant is used.
    """
    if cite:
        _cite(experiment, overrides or [], only or [])
        return
    from musicemo.data import Features, sounding_alike, summarize
    from musicemo.experiment.tracks import read_tracks, split_tracks
    from musicemo.reporting.sections.data import data_blocks
    from musicemo.running.transfer import find_shared_music

    loaded = _with_the_data(experiment, overrides or [], only or [])
    tracks = read_tracks(loaded)
    split = split_tracks(loaded.completed(tracks), tracks, loaded.replicates()[0].fold)
    features = Features(tracks.tracks, tracks.rows, loaded.training.cache)
    heard = audio and any(isinstance(track.audio, Path) for track in tracks.tracks)
    alike = sounding_alike(tracks.tracks, loaded.cache_names) if heard else None
    summary = summarize(tracks, split, features, alike)
    if loaded.transfer is not None:
        try:
            leaks = find_shared_music(loaded, tracks, split, features, runs, sound=audio)
        except InputError as error:  # the source can be trained later
            _log.warning(f"the source of the transfer is not compared: {error}")
        else:
            summary = dataclasses.replace(summary, leaks=[*summary.leaks, *leaks])
    if as_json:
        emit_json(dataclasses.asdict(summary))
    else:
        emit_blocks(data_blocks(loaded.dataset.name, loaded.split.method, summary))


def _with_the_data(file: Path, overrides: list[str], only: list[str]) -> Experiment:
    """Return an experiment, or the first variant of a matrix if all have the same tracks, tasks and split.

    Raises:
        InputError: It is not valid, or its variants differ in them.
    """
    from musicemo.experiment import load_experiment, load_experiments

    first, *others = load_experiments(file, overrides, only)
    compared = ("dataset", "tasks", "split")
    if any(first.source.table.get(key) != other.source.table.get(key) for other in others for key in compared):
        return load_experiment(file, overrides, only)  # names the variants to choose from
    if others:
        terminal.say(
            "note", "bold", f"the data of {first.name}; the other variants have the same tracks and split"
        )
    return first


def _cite(experiment: Path, overrides: list[str], only: list[str]) -> None:
    """Print citation and license of an experiment's datasets, or of the dataset with this name."""
    from musicemo.components import registry

    if experiment.suffix == ".toml" or experiment.is_file():
        from musicemo.experiment import load_experiments

        factories = {
            dataset.name: dataset.factory
            for dataset in load_experiments(experiment, overrides, only)[0].datasets.values()
        }
    else:
        factories = {str(experiment): registry.load("dataset", str(experiment))}
    for name, factory in factories.items():
        citation, licence = (getattr(factory, attribute, None) for attribute in ("citation", "licence"))
        emit(f"{citation or f'The dataset {name!r} has no citation. Cite the authors of your data.'}\n")
        if licence:
            emit(f"License: {licence}\n")
