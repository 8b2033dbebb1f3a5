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
            help="A table (.csv, .tsv) with a row a track, a folder with one, a folder of songs in folders by class, "
            "or the folder of a dataset that musicemo knows.",
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            show_default=False,
            help="The experiment to write; by default the data's name with .toml, here.",
        ),
    ] = None,
    task: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            show_default=False,
            help="Learn this; give it as often as you like. By default all that looks like it can be learnt.",
        ),
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            show_default=False,
            autocompletion=_datasets,
            help="Read the data with this dataset, instead of finding out which.",
        ),
    ] = None,
) -> None:
    """Write an experiment for your own data, after looking at it.

    What it found out, and what it left out and why, is in the file's comments. Nothing is ever overwritten.
    """
    from musicemo.authoring.draft import draft_experiment
    from musicemo.errors import InputError
    from musicemo.experiment import load_experiment

    file = output or Path(f"{data.resolve().stem}.toml")
    if not file.parent.is_dir():
        raise InputError(f"{file}: there is no folder {file.parent}")
    draft = draft_experiment(data, file, dataset=dataset, targets=task or [])
    if taken := [path for path in (file, *draft.files) if path.exists()]:
        raise InputError(f"{taken[0]}: is there already, and is not overwritten; name another with --output")
    written: list[Path] = []
    try:
        for path, text in {**draft.files, file: draft.text}.items():
            _write(path, text)
            written.append(path)
        load_experiment(file).build_dataset()
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
        raise InputError(f"{error}. Name a file in another folder with --output") from error
    except UnicodeEncodeError as error:
        lines = text[: error.end].rpartition("\n")[2]
        raise InputError(
            f"{path}: cannot be written, since a name is not valid UTF-8: {lines!r}. Rename the file or folder"
        ) from error


def _print(file: Path, draft: Draft) -> None:

    console = terminal.console()
    sizes = ", ".join(f"{count} {part}" for part, count in draft.parts.items())
    lines = [
        f"{file}: {', '.join(draft.tasks)} from {sum(draft.parts.values())} tracks, read by {draft.dataset}",
        f"Split: {draft.method}: {sizes}",
        *([f"Could be learnt too, with --task: {', '.join(draft.others)}"] if draft.others else []),
        *(f"Left out: {note}" for note in draft.notes),
        *(f"Wrote {path} too, which names the files" for path in draft.files),
        "Look it over, and then:",
        f"  musicemo validate {file}",
        f"  musicemo run {file}",
    ]
    for line in lines:
        console.print(line, markup=False)
