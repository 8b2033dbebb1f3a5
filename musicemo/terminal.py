"""Standard output and standard error: streams that never end a program, and text without control characters."""

from __future__ import annotations

import contextlib
import errno
import functools
import io
import os
import re
import select
import signal
import sys
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["Streams", "aside", "console", "say", "survive_hangup", "visible"]

#: Control characters (C0 but tab and line feed, DEL, C1), line and paragraph separators, marks that reorder text,
#: code points that are not characters, and surrogates, which no encoding has.
_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufdd0-\ufdef\ufeff\ufffe\uffff\ud800-\udfff]"
)

#: Errors that mean that nobody reads any more, as opposed to a device that is full.
_HUNG_UP = (errno.EPIPE, errno.EIO, errno.ECONNRESET, errno.ENXIO)


def visible(text: str) -> str:
    r"""Return text that a terminal, a page or a figure can show, with control characters in the form ``\x1b``.

    A byte of a file name that is not UTF-8 is shown in the same form. Tabs and line feeds remain.
    """
    return _HIDDEN.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    if 0xDC80 <= code <= 0xDCFF:  # a byte, as `os.fsdecode` writes it
        code -= 0xDC00
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def console(
    *, stderr: bool = False, file: IO[str] | None = None, width: int | None = None, soft_wrap: bool = True
) -> Console:
    """Return a console on which text cannot move the cursor, clear the screen or turn into an emoji.

    Args:
        stderr: Whether to write to standard error.
        file: Write to this file instead.
        width: Number of columns. By default the terminal's.
        soft_wrap: Whether the terminal breaks long lines.
    """
    environment = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "LINES")}
    if width is None and (columns := os.environ.get("COLUMNS", "")).isdecimal() and int(columns) > 0:
        width = int(columns)
    safe_console: Console = _console_class()(
        stderr=stderr,
        file=file,
        width=width,
        soft_wrap=soft_wrap,
        emoji=False,
        highlight=False,
        _environ=environment,
    )
    return safe_console


@functools.cache
def _console_class() -> Any:
    """Return the class, without making every command wait for the import of rich."""
    from rich.console import Console
    from rich.segment import Segment

    class SafeConsole(Console):
        """A console that shows control characters instead of obeying them."""

        def render_str(self, text: str, **options: Any) -> Any:
            return super().render_str(visible(text), **options)

        def render(self, renderable: Any, options: Any = None) -> Iterator[Segment]:
            for segment in super().render(renderable, options):
                clean = segment.control or not _HIDDEN.search(segment.text)
                yield segment if clean else Segment(visible(segment.text), segment.style)

    return SafeConsole


class _Output(io.FileIO):
    """A descriptor to write to. Once that fails, everything written is dropped."""

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor, "wb", closefd=False)
        self.lost: OSError | None = None

    def write(self, data: Any) -> int:
        """Write what the device takes, and wait for one that is busy."""
        if self.lost is None:
            try:
                while (count := super().write(data)) is None:
                    select.select([], [self], [])
                return count
            except OSError as error:
                self.lost = error
                self.drop()
        return memoryview(data).nbytes

    def drop(self) -> None:
        """Let libraries and child processes write to nowhere too."""
        with contextlib.suppress(OSError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())
            os.close(nowhere)


class Streams(contextlib.AbstractContextManager["Streams"]):
    """Standard output and standard error that never raise.

    A reader that goes away (``| head``, a pager that is quit, a terminal that is closed) and a full device end the
    output, not the program. A character that the encoding does not have is replaced. A stream without a descriptor,
    such as a notebook's, stays as it is.
    """

    def __init__(self) -> None:
        self._outputs: list[_Output] = []
        self._before: dict[str, TextIO | None] = {}

    def __enter__(self) -> Streams:
        if None in (sys.stdin, sys.stdout, sys.stderr):  # closed: the next files must not get their descriptors
            while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
                pass
            os.close(descriptor)
        for name, descriptor, errors in (("stdout", 1, "replace"), ("stderr", 2, "backslashreplace")):
            before: Any = getattr(sys, name)
            self._before[name] = before
            if before is not None:
                try:
                    before.flush()
                    descriptor = before.fileno()
                except (OSError, ValueError, AttributeError):
                    continue
            output = _Output(descriptor)
            stream = io.TextIOWrapper(
                io.BufferedWriter(output),
                encoding=getattr(before, "encoding", None) or "utf-8",
                errors=errors,
                line_buffering=getattr(before, "line_buffering", False) or output.isatty() or name == "stderr",
                write_through=getattr(before, "write_through", False),
            )
            self._outputs.append(output)
            setattr(sys, name, stream)
        return self

    def __exit__(self, *_: object) -> None:
        self.flush()
        if any(output.lost and output.lost.errno == errno.EIO for output in self._outputs):
            for output in self._outputs:  # of one terminal, which is gone: what is written at exit fails too
                output.drop()
        for name, before in self._before.items():
            setattr(sys, name, before)

    def flush(self) -> None:
        """Write the buffered output."""
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError, AttributeError):
                stream.flush()

    @property
    def failure(self) -> OSError | None:
        """The reason why output is missing, unless the reader only went away."""
        self.flush()
        lost = [output.lost for output in self._outputs if output.lost]
        return next((error for error in lost if error.errno not in _HUNG_UP), None)


@contextlib.contextmanager
def aside() -> Iterator[TextIO]:
    """Send what is printed inside to standard error; yield standard output for what belongs there.

    So a component that prints does not end up in the middle of a command's JSON. What a library or a child process
    writes to the descriptor is sent there as well.
    """
    real, other = sys.stdout, sys.stderr
    try:
        real.flush()
        descriptor, target = real.fileno(), other.fileno()
        copy = os.dup(descriptor)
    except (OSError, ValueError, AttributeError):  # a stream of a notebook, of a test, or none
        with contextlib.redirect_stdout(other):
            yield real
        return
    results = io.TextIOWrapper(
        io.BufferedWriter(_Output(copy)), encoding=real.encoding, errors=real.errors, line_buffering=True
    )
    try:
        os.dup2(target, descriptor)
        with contextlib.redirect_stdout(other):
            yield results
    finally:
        results.flush()
        os.dup2(copy, descriptor)
        os.close(copy)


def say(what: str, style: str, text: str) -> None:
    """Print a line on standard error: ``error: TEXT``."""
    stream = console(stderr=True)
    stream.print(f"{what}:", style=style, end=" ")
    stream.print(text, markup=False)


def survive_hangup() -> None:
    """Go on when the terminal is closed, since a run is worth more than its display."""
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
