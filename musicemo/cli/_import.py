"""``musicemo import``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from musicemo.cli._completion import complete_run
from musicemo.errors import InputError

if TYPE_CHECKING:
    from musicemo.runs import RunRecord

__all__ = ["add_commands"]


def add_commands(app: typer.Typer) -> None:
    """Add ``import``."""
    app.command("import")(import_runs)


def import_runs(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN",
            autocompletion=complete_run,
            help="Run directory, or the folder of an experiment or search for all of its runs.",
            show_default=False,
        ),
    ],
    to: Annotated[str, typer.Option("--to", metavar="NAME", help="Tracker: mlflow, wandb or another plugin.")],
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Setting of the tracker. The others are those in the run's experiment file.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Send recorded runs to a tracker.

    A run that the tracker already has is completed and not added again.
    """
    from musicemo.cli._output import emit
    from musicemo.tracking import make_tracker

    settings = _settings(overrides or [])
    trackers: dict[str, Any] = {}
    for record in [record for path in runs for record in _records(path)]:
        table = {**_recorded_settings(record, to), **settings}
        if repr(table) not in trackers:
            trackers[repr(table)] = make_tracker(to, table)
        trackers[repr(table)].import_run(record)
        emit(f"{record.directory}: sent to {to} ({record.status})\n")


def _records(path: Path) -> list[RunRecord]:
    """Return the run in a run directory, or all in the folder of an experiment or search."""
    from musicemo.runs import open_run, open_runs
    from musicemo.runs.search import TRIALS

    folders = [path, *sorted((path / TRIALS).glob("*"))]
    records = [record for folder in folders for record in open_runs(folder)]
    return records if records and not (path / "results.json").exists() else [open_run(path)]


def _settings(overrides: list[str]) -> dict[str, Any]:
    """Return the values of --set by key.

    Raises:
        InputError: An override is not of the form KEY=VALUE.
    """
    from musicemo import toml

    settings = {}
    for text in overrides:
        key, equals, value = text.partition("=")
        if not equals:
            raise InputError(f"--set {text}: must have the form KEY=VALUE, for example experiment=study")
        settings[key.strip()] = toml.parse_value(value)
    return settings


def _recorded_settings(record: RunRecord, name: str) -> dict[str, Any]:
    """Return the settings of a plugin in the experiment file of a run; empty if it has no table."""
    tables: dict[str, dict[str, Any]] = record.experiment.get("plugins") or {}
    table: dict[str, Any] = next((one for key, one in tables.items() if one.get("type", key) == name), {})
    return {key: value for key, value in table.items() if key not in ("type", "enabled")}
