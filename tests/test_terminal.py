"""Streams that never end a program, and text without control characters."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import pty
import subprocess
import sys
import threading
import time

import pytest

from musicemo import terminal
from musicemo.progress import Progress
from musicemo.terminal import Streams, aside, console, visible

HOSTILE = "a\x1b[2Jb\x07\x9b1A\u202ec\x00\r\x7f\ufffe\udcffd\ud800"
TAMED = "a\\x1b[2Jb\\x07\\x9b1A\\u202ec\\x00\\x0d\\x7f\\ufffe\\xffd\\ud800"


@pytest.fixture
def stdout(monkeypatch):
    """Return what makes a descriptor the standard output."""
    opened = []

    def replace(descriptor, encoding="utf-8"):
        stream = io.TextIOWrapper(io.FileIO(descriptor, "w", closefd=False), encoding, write_through=True)
        opened.append(descriptor)
        monkeypatch.setattr(sys, "stdout", stream)
        return stream

    yield replace
    for descriptor in opened:
        with contextlib.suppress(OSError):
            os.close(descriptor)


def test_visible_text_has_no_control_characters():
    assert visible(HOSTILE) == TAMED
    assert visible(TAMED) == TAMED
    for text in ("Dvořák, 坂本 龍一, שלום, 👩‍🎤", "two\nlines\tand a tab", ""):
        assert visible(text) == text


def test_a_reader_that_goes_away_ends_the_output_only(stdout):
    reader, writer = os.pipe()
    os.close(reader)
    before = stdout(writer)
    with Streams() as streams:
        for _ in range(3):
            console().print("x" * 100_000)
            sys.stdout.flush()
        assert streams.failure is None
        os.write(writer, b"a library's words")
    assert sys.stdout is before


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")  # noqa: PTH110
def test_a_full_device_is_remembered(stdout):
    stdout(os.open("/dev/full", os.O_WRONLY))
    with Streams() as streams:
        console().print("words")
        assert streams.failure.errno == errno.ENOSPC


def test_a_terminal_that_is_closed_ends_the_output_only(stdout):
    parent, child = pty.openpty()
    stdout(child)
    with Streams() as streams:
        os.close(parent)
        console().print("words")
        assert streams.failure is None


def test_a_busy_pipe_is_waited_for(stdout):
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    text = "words " * 100_000
    received = []

    def read():
        time.sleep(0.05)
        with open(reader, "rb") as file:  # noqa: PTH123
            received.append(file.read())

    thread = threading.Thread(target=read)
    thread.start()
    stdout(writer)
    with Streams():
        sys.stdout.write(text)
    os.close(writer)
    thread.join()
    assert received == [text.encode()]


@pytest.mark.parametrize(("encoding", "shown"), [("ascii", b"D?o??k"), ("latin-1", b"D?o?\xb1k")])
def test_a_character_that_the_encoding_does_not_have_is_replaced(stdout, encoding, shown):
    reader, writer = os.pipe()
    stdout(writer, encoding)
    with Streams():
        console().print("Dřoř±k")
    os.close(writer)
    with open(reader, "rb") as file:  # noqa: PTH123
        assert file.read().strip() == shown


def test_a_stream_without_a_descriptor_stays(monkeypatch):
    text = io.StringIO()
    monkeypatch.setattr(sys, "stdout", text)
    with Streams() as streams, aside() as results:
        assert streams.failure is None
        assert results is text
        sys.stdout.write("prose")
    assert text.getvalue() == ""


def test_streams_that_are_closed_do_not_become_files(tmp_path):
    """A program without standard streams would give their numbers to the next files that it opens."""
    code = """
        import os, sys
        from musicemo.terminal import Streams
        with Streams():
            with open(sys.argv[1], "w") as file:
                print("prose")
                os.write(1, b"more")
                print(file.fileno() > 2, file=file)
    """
    lines = "\n".join(line[8:] for line in code.splitlines())
    path = tmp_path / "file"
    shell = 'exec "$0" -c "$1" "$2" <&- >&- 2>&-'
    subprocess.run(["sh", "-c", shell, sys.executable, lines, str(path)], check=True)
    assert path.read_text() == "True\n"


def test_what_is_printed_aside_does_not_reach_the_results(capfd):
    sys.stdout.write("before\n")
    with Streams():
        descriptor = sys.stdout.fileno()
        with aside() as results:
            sys.stdout.write("prose\n")
            os.write(descriptor, b"from a library\n")
            results.write(json.dumps({"a": 1}) + "\n")
    sys.stdout.write("after\n")
    out, err = capfd.readouterr()
    assert out.splitlines() == ["before", '{"a": 1}', "after"]
    assert {"prose", "from a library"} <= {*err.splitlines()}


def test_a_console_shows_control_characters(monkeypatch):
    from rich.table import Table
    from rich.text import Text

    monkeypatch.setenv("COLUMNS", "300")
    file = io.StringIO()
    table = Table()
    table.add_row(HOSTILE)
    console(file=file).print(HOSTILE, markup=False)
    console(file=file).print(table)
    console(file=file).print(Text("\x1b[2J \u202e"))
    text = file.getvalue()
    assert text.count(TAMED) == 2
    assert text.endswith("\\x1b[2J \\u202e\n")
    assert visible(text) == text


@pytest.mark.parametrize(("columns", "width"), [("20", 20), ("0", 80), ("-1", 80), ("", 80), ("99", 99)])
def test_the_width_of_a_console(monkeypatch, columns, width):
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setattr(os, "get_terminal_size", lambda *_: os.terminal_size((80, 25)))
    assert console(file=io.StringIO()).width == width


def test_a_terminal_that_cannot_move_its_cursor_has_lines(monkeypatch, stdout, capsys):
    parent, child = pty.openpty()
    monkeypatch.setattr(sys, "stderr", stdout(child))
    monkeypatch.setenv("TERM", "dumb")
    with Progress("Making", "songs") as bar:
        bar.update(0, 2)
        bar.update(2, 2)
    assert os.read(parent, 1000).decode().startswith("Making: 2 songs")
    os.close(parent)


def test_a_hangup_is_survived(monkeypatch):
    calls = []
    monkeypatch.setattr(terminal.signal, "signal", lambda *call: calls.append(call))
    terminal.survive_hangup()
    assert calls == [(terminal.signal.SIGHUP, terminal.signal.SIG_IGN)]
