"""Results on standard output, or in a file."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["check_output", "emit", "emit_json", "emit_tables", "say"]

_WIDTH = 100
"""Of tables in a file."""


def check_output(output: Path | None) -> None:
    """Refuse a file in a folder that is not there, before the work is done."""
    from musicemo.errors import InputError

    if output is not None and (output.is_dir() or not output.parent.is_dir()):
        what = "is a folder" if output.is_dir() else f"there is no folder {output.parent}"
        raise InputError(f"--output {output}: {what}")


def emit(text: str, output: Path | None) -> None:
    """Write text; names of files that are no UTF-8 come out as they are on the disk."""
    from musicemo.files import write_atomically

    content = text.encode(errors="surrogateescape")
    if output is None:
        typer.echo(content, nl=False)
    else:
        write_atomically(output, lambda file: _write(file, content))


def _write(file: Any, content: bytes) -> None:
    file.write(content)


def emit_json(value: Any, output: Path | None) -> None:
    """Write JSON."""
    emit(json.dumps(value, indent=2, allow_nan=False) + "\n", output)


def emit_tables(draw: Callable[[Console], None], output: Path | None) -> None:
    """Let `draw` print tables."""
    from rich.console import Console

    if output is None:
        draw(Console(emoji=False, highlight=False, soft_wrap=True))
        return
    text = io.StringIO()
    draw(Console(file=text, width=_WIDTH, emoji=False, highlight=False, soft_wrap=True))
    emit(text.getvalue(), output)


def say(what: str, style: str, text: str) -> None:
    """Print a line on standard error: ``error: TEXT``."""
    from rich.console import Console

    console = Console(stderr=True, emoji=False, highlight=False, soft_wrap=True)
    console.print(f"{what}:", style=style, end=" ")
    console.print(text, markup=False)
