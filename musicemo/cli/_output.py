"""Results on standard output, or in a file."""

from __future__ import annotations

import functools
import io
import json
import sys
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO, ParamSpec, TextIO

import typer

from musicemo import terminal
from musicemo.errors import RunError

if TYPE_CHECKING:
    from musicemo.reporting.blocks import Block

__all__ = ["Stream", "check_output", "emit", "emit_blocks", "emit_json", "prints_data"]

_P = ParamSpec("_P")

#: Width of tables in a file.
_WIDTH = 100

#: Where results are written while everything else that is printed goes to standard error.
_results: ContextVar[TextIO | None] = ContextVar("results", default=None)


def check_output(output: Path | None) -> None:
    """Refuse a file in a folder that is not there, before the work is done."""
    from musicemo.errors import InputError

    if output is not None and (output.is_dir() or not output.parent.is_dir()):
        what = "is a folder" if output.is_dir() else f"the folder {output.parent} does not exist"
        raise InputError(f"--output {output}: {what}")


def emit(text: str, output: Path | None = None) -> None:
    """Write text on standard output or in a file; see `Stream.write`."""
    from musicemo.files import write_bytes

    if output is None:
        _print(text)
    else:
        write_bytes(output, text.encode(errors="surrogateescape"))


def _print(text: str) -> None:
    """Write text on standard output, in UTF-8; a file's name that is not UTF-8 is written as it is on the disk.

    On a terminal the text has the terminal's encoding, and control characters are shown instead of obeyed.
    """
    stream = _results.get() or sys.stdout
    if stream is not None and stream.isatty():
        typer.echo(terminal.visible(text), file=stream, nl=False, color=False)
    else:
        typer.echo(text.encode(errors="surrogateescape"), file=stream, nl=False)


def emit_json(value: Any, output: Path | None = None) -> None:
    """Write JSON."""
    emit(json.dumps(value, indent=2, allow_nan=False) + "\n", output)


def emit_blocks(blocks: Iterable[Block], output: Path | None = None) -> None:
    """Write texts and tables."""
    from musicemo.reporting.terminal import show

    if output is None:
        show(terminal.console(), blocks)
    else:
        emit(_plain(blocks), output)


def _plain(blocks: Iterable[Block]) -> str:
    from musicemo.reporting.terminal import show

    text = io.StringIO()
    show(terminal.console(file=text, width=_WIDTH), blocks)
    return text.getvalue()


class Stream:
    """Results that are written one after the other, on standard output or in a file; a context manager.

    What was written before an interruption or an error stays.

    Args:
        output: The file, which is replaced; None is standard output.
    """

    def __init__(self, output: Path | None) -> None:
        self._output = output
        self._file: BinaryIO | None = None
        self._ending = ""

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
        self._ending = ending
        if self._file is None or not self._file.seekable():
            self._write(text)
            return
        self._write(text + ending)
        self._file.seek(-len(ending.encode(errors="surrogateescape")), io.SEEK_CUR)

    def show(self, blocks: Iterable[Block]) -> None:
        """Write texts and tables, and an empty line below them."""
        if self._output is None:
            emit_blocks(blocks)
            terminal.console().print()
        else:
            self.write(_plain(blocks) + "\n")

    def _write(self, text: str) -> None:
        if self._file is None:
            _print(text)
            return
        try:
            self._file.write(text.encode(errors="surrogateescape"))
            self._file.flush()
        except OSError as error:
            raise self._failed(error) from error

    def _failed(self, error: OSError) -> RunError:
        return RunError(f"{self._output}: cannot be written: {error.strerror or error}")


def prints_data(command: Callable[_P, None]) -> Callable[_P, None]:
    """Let only the result reach the standard output of a command that is asked for JSON or CSV.

    A component may print when it is imported or used: that goes to standard error.
    """

    @functools.wraps(command)
    def run(*arguments: _P.args, **options: _P.kwargs) -> None:
        if not options.get("as_json") and str(options.get("form", "table")) == "table":
            command(*arguments, **options)
            return
        with terminal.aside() as stream:
            token = _results.set(stream)
            try:
                command(*arguments, **options)
            finally:
                _results.reset(token)

    return run
