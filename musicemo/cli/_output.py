"""Results on standard output, or in a file."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO

import typer

from musicemo.errors import RunError

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["Stream", "check_output", "emit", "emit_json", "emit_tables", "say"]

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
    if output is None:
        draw(_console())
        return
    text = io.StringIO()
    draw(_console(text))
    emit(text.getvalue(), output)


class Stream:
    """Results that are written one after the other, on standard output or in a file; a context manager.

    What was written before an interruption or an error stays.

    Args:
        output: The file, which is replaced; None is standard output.
    """

    def __init__(self, output: Path | None) -> None:
        self._output = output
        self._file: BinaryIO | None = None
        self._console: Console | None = None
        self._ending = b""

    def __enter__(self) -> Stream:
        if self._output is not None:
            try:
                self._file = self._output.open("wb")
            except OSError as error:
                raise self._failed(error) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._file is None or not self._file.seekable():
                self._write(self._ending)
            if self._file is not None:
                self._file.close()
        except (OSError, RunError):
            if kind is None:  # otherwise the first error is the one to report
                raise

    def write(self, text: str, ending: str = "") -> None:
        """Write text; a file's name that is not UTF-8 is written as it is on the disk.

        Args:
            text: The text.
            ending: The text that completes everything written so far. It follows the last text only. A file always
                ends with it, so that the file is complete even if the process is killed.
        """
        content, self._ending = (part.encode(errors="surrogateescape") for part in (text, ending))
        if self._file is None or not self._file.seekable():
            self._write(content)
            return
        self._write(content + self._ending)
        self._file.seek(-len(self._ending), io.SEEK_CUR)

    def draw(self, draw: Callable[[Console], None]) -> None:
        """Let `draw` print tables."""
        if self._output is None:
            self._console = self._console or _console()
            draw(self._console)
            return
        text = io.StringIO()
        draw(_console(text))
        self.write(text.getvalue())

    def _write(self, content: bytes) -> None:
        if self._file is None:
            typer.echo(content, nl=False)
            return
        try:
            self._file.write(content)
            self._file.flush()
        except OSError as error:
            raise self._failed(error) from error

    def _failed(self, error: OSError) -> RunError:
        return RunError(f"{self._output}: cannot be written: {error.strerror or error}")


def _console(file: io.StringIO | None = None) -> Console:
    from rich.console import Console

    return Console(file=file, width=_WIDTH if file else None, emoji=False, highlight=False, soft_wrap=True)


def say(what: str, style: str, text: str) -> None:
    """Print a line on standard error: ``error: TEXT``."""
    from rich.console import Console

    console = Console(stderr=True, emoji=False, highlight=False, soft_wrap=True)
    console.print(f"{what}:", style=style, end=" ")
    console.print(text, markup=False)
