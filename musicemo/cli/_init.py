"""``musicemo init``."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from musicemo import terminal
from musicemo.cli._completion import complete_component

if TYPE_CHECKING:
    from musicemo.authoring.draft import Draft

__all__ = ["add_commands"]


def add_commands(app: typer.Typer) -> None:
    """Add ``init``."""
    app.command()(init)


def _datasets(incomplete: str) -> list[str]:
    return complete_component(incomplete, "dataset")


def init(
    data: Annotated[
        Path,
        typer.Argument(
            metavar="DATA",
            show_default=False,
            help="Table (.csv, .tsv, .xlsx, .parquet) with one row per track, a folder containing one, a folder with "
            "a subfolder of songs per class, or the folder of a supported dataset.",
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            show_default=False,
            help="Experiment file to write. Default: NAME.toml in the working directory, after the data's name.",
        ),
    ] = None,
    task: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            show_default=False,
            help="Target to predict. Can be repeated. Default: every column that looks like a target.",
        ),
    ] = None,
    files: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            show_default=False,
            help="Folder of the audio or feature files that a table names. Default: the table's folder and those "
            "in it.",
        ),
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            show_default=False,
            autocompletion=_datasets,
            help="Dataset type to read the data with. Default: detected.",
        ),
    ] = None,
) -> None:
    """Write an experiment file for your own data.

    The data are inspected first. Comments in the file explain what was detected, and what was ignored and why. Existing
    files are never overwritten.
    """
    from musicemo.authoring.draft import draft_experiment
    from musicemo.errors import InputError
    from musicemo.experiment import load_experiments

    file = output or Path(f"{data.resolve().stem}.toml")
    if not file.parent.is_dir():
        raise InputError(f"{file}: the folder {file.parent} does not exist")
    draft = draft_experiment(data, file, dataset=dataset, targets=task or [], files=files)
    if taken := [path for path in (file, *draft.files) if path.exists()]:
        raise InputError(
            f"{taken[0]}: already exists and is not overwritten. Use --output to write another file"
        )
    written: list[Path] = []
    try:
        for path, text in {**draft.files, file: draft.text}.items():
            _write(path, text)
            written.append(path)
        load_experiments(file)[0].build_dataset()
    except BaseException:
        for path in written:
            with contextlib.suppress(OSError):
                path.unlink()
        raise
    _print(file, draft)


def _write(path: Path, text: str) -> None:
    from musicemo.errors import InputError, RunError
    from musicemo.files import write_text

    try:
        write_text(path, text)
    except RunError as error:
        raise InputError(f"{error}. Use --output to write to another folder") from error
    except UnicodeEncodeError as error:
        lines = text[: error.end].rpartition("\n")[2]
        raise InputError(
            f"{path}: cannot be written because a name is not valid UTF-8: {lines!r}. Rename the file or folder"
        ) from error


def _print(file: Path, draft: Draft) -> None:

    console = terminal.console()
    lines = [
        f"{file}: {', '.join(draft.tasks)} from {draft.tracks} tracks, read by {draft.dataset}",
        f"Split: {draft.split}",
        f"Models: {draft.models}",
        *([f"Other possible targets, with --task: {', '.join(draft.others)}"] if draft.others else []),
        *(f"Note: {remark}" for remark in draft.remarks),
        *(f"Ignored: {note}" for note in draft.notes),
        *(f"Also wrote {path} with the list of files" for path in draft.files),
        "Next, check the file and run:",
        f"  musicemo validate {file}",
        f"  musicemo run {file}",
    ]
    for line in lines:
        console.print(line, markup=False)
