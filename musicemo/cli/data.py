"""``musicemo data``."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from musicemo.cli._options import ExperimentFile, Overrides

if TYPE_CHECKING:
    from musicemo.data import Summary

__all__ = ["add_commands"]

_PARTS = ("train", "val", "test")


def add_commands(app: typer.Typer) -> None:
    """Add ``data``."""
    app.command()(data)


def data(
    experiment: ExperimentFile,
    overrides: Overrides = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Look at an experiment's data: tracks, parts, classes, ratings, lengths, gaps and suspected leaks."""
    from musicemo.assembly import read_tracks, split_tracks
    from musicemo.data import Features, summarize
    from musicemo.experiment import load_experiment

    loaded = load_experiment(experiment, overrides or [])
    tracks = read_tracks(loaded)
    split = split_tracks(loaded, tracks, loaded.replicates()[0][1])
    summary = summarize(tracks, split, Features(tracks.tracks, tracks.rows, loaded.training.cache))
    if as_json:
        typer.echo(json.dumps(dataclasses.asdict(summary), indent=2))
    else:
        _print(loaded.dataset.name, loaded.split.method, summary)


def _print(dataset: str, method: str, summary: Summary) -> None:
    console = Console(highlight=False)
    console.print(
        f"[bold]{dataset}[/bold]: {summary.tracks} labelled tracks, {summary.unlabelled} without a label for any task, "
        f"{summary.feature_rows} feature rows",
        soft_wrap=True,
    )
    table = Table("part", title=f"Split ({method}, hash {summary.split_hash[:12]})", title_justify="left")
    for name in ("tracks", "shortest", "median", "longest"):
        table.add_column(name, justify="right")
    for part, count in summary.parts.items():
        table.add_row(part, str(count), *(f"{frames:g}" for frames in summary.frames.get(part, ())))
    table.caption = "lengths in frames"
    console.print(table)
    for task, parts in summary.ratings.items():
        _print_ratings(console, task, parts)
    for task, classes in summary.classes.items():
        _print_merging(console, task, summary)
        table = Table("class", *_PARTS, "all", "", title=f"{task}: classes after merging", title_justify="left")
        most = max(sum(counts.values()) for counts in classes.values())
        for name, counts in classes.items():
            total = sum(counts.values())
            if name != "missing" or total:
                table.add_row(name, *(str(counts[part]) for part in _PARTS), str(total), _bar(total, most))
        console.print(table)
    for leak in summary.leaks:
        console.print("[yellow]suspected leak:[/yellow]", end=" ")
        console.print(leak, markup=False, soft_wrap=True)
    if not summary.leaks:
        console.print("No leak found: no group and no equal features in more than one part.")


def _print_ratings(console: Console, task: str, parts: Mapping[str, Mapping[str, float]]) -> None:
    names = ("count", "missing", "min", "q1", "median", "q3", "max", "mean")
    table = Table("part", title=f"{task}: ratings in their own units", title_justify="left")
    for name in names:
        table.add_column(name, justify="right")
    for part, found in parts.items():
        table.add_row(part, *(f"{found[name]:.4g}" if name in found else "" for name in names))
    console.print(table)


def _print_merging(console: Console, task: str, summary: Summary) -> None:
    merged = summary.merged[task]
    if all(found["becomes"] == name for name, found in merged.items()):
        return
    table = Table("class", "tracks", "becomes", title=f"{task}: classes before merging", title_justify="left")
    for name, found in merged.items():
        table.add_row(name, str(found["tracks"]), found["becomes"] or "[dim]dropped[/dim]")
    console.print(table)


def _bar(count: int, most: int) -> str:
    return "█" * round(20 * count / max(most, 1))
