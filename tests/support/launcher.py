"""Runs the command line many times at the price of one import: a server process that forks for each command.

The server imports all that a run needs and nothing else, so a forked child is what `musicemo` would be: its own
process, its own exit code and streams, its own signals.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fakes

SUPPORT = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Finished:
    """A process that has ended: its exit code, negative for a signal, and what it printed."""

    code: int
    out: str
    err: str


class Process:
    """A command under way."""

    def __init__(self, launcher: Launcher, pid: int, streams: Sequence[Path]) -> None:
        self.pid = pid
        self._launcher = launcher
        self._streams = streams

    def wait(self) -> Finished:
        """Wait for the end."""
        code = self._launcher.wait()
        out, err = (path.read_text() if path.is_file() else "" for path in self._streams)
        return Finished(code, out, err)

    def read(self) -> str:
        """Return what was printed so far."""
        return self._streams[0].read_text()


class Launcher:
    """The server, seen from the test; one command at a time."""

    def __init__(self, folder: Path) -> None:
        self.site = folder / "site"
        self.site.mkdir()
        self._folder = folder
        self._count = 0
        self._under_way: int | None = None
        own = [point for point in fakes.FAKES if point[1] in fakes.OWN_NAMES]
        points = [(kind, name, f"fakes:{component.__name__}") for kind, name, component in own]
        fakes.write_distribution(self.site, [*points, ("plugin", "assassin", "assassin")])
        self._server = subprocess.Popen(
            [sys.executable, str(Path(__file__))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join([str(self.site), str(SUPPORT)]),
                "OMP_NUM_THREADS": "1",  # on busy machines, threads that wait for each other take longer
            },
        )

    def start(
        self,
        *arguments: str | Path,
        environment: Mapping[str, str] | None = None,
        path: Sequence[Path] = (),
        folder: Path | None = None,
        terminal: str | None = None,
        tensorboard: bool = False,
        largest_file: int = -1,
    ) -> Process:
        """Start ``musicemo ARGUMENTS``.

        Args:
            arguments: of the command line.
            environment: variables beside those of this process.
            path: folders to find more modules and distributions in.
            folder: the working directory.
            terminal: both streams, instead of files.
            tensorboard: whether its plugin is active: its figures take most of a small run's time.
            largest_file: bytes beyond which a file cannot be written, as on a full disk; -1 for no limit.
        """
        self._end()
        self._count += 1
        streams = [
            Path(terminal) if terminal else self._folder / f"{self._count}.{name}" for name in ("out", "err")
        ]
        if not terminal:
            for stream in streams:
                stream.touch()  # what is read before the child has opened them is empty
        request = {
            "arguments": [str(argument) for argument in arguments],
            "environment": {
                "MUSICEMO_DISABLE_PLUGINS": ""
                if tensorboard
                else "tensorboard",  # also in its worker processes
                **(environment or {}),
            },
            "path": [str(place) for place in path],
            "folder": str(folder or self._folder),
            "streams": [str(stream) for stream in streams],
            "largest_file": largest_file,
        }
        assert self._server.stdin
        self._server.stdin.write(json.dumps(request) + "\n")
        self._server.stdin.flush()
        self._under_way = self._receive()["pid"]
        return Process(self, self._under_way, streams)

    def run(self, *arguments: str | Path, **how) -> Finished:
        """Run ``musicemo ARGUMENTS`` to its end; see `start`."""
        return self.start(*arguments, **how).wait()

    def wait(self) -> int:
        """Return the exit code of the command under way, once it has ended."""
        code = self._receive()["code"]
        self._under_way = None
        return code

    def _end(self) -> None:
        """End what a test that failed has left under way."""
        if self._under_way is not None:
            with contextlib.suppress(ProcessLookupError):  # it has ended, and nobody waited for it
                os.kill(self._under_way, signal.SIGKILL)
            self.wait()

    def _receive(self) -> dict[str, int]:
        """Return the server's next word."""
        assert self._server.stdout
        line = self._server.stdout.readline()
        if not line:
            raise RuntimeError("the launcher's server died; see its messages above")
        return json.loads(line)

    def close(self) -> None:
        """End the server."""
        self._end()
        self._server.communicate()


@functools.cache
def launcher() -> Launcher:
    """Return the one server of this test process."""
    folder = tempfile.TemporaryDirectory(prefix="musicemo-tests-")
    made = Launcher(Path(folder.name))

    def close() -> None:
        made.close()
        folder.cleanup()

    atexit.register(close)
    return made


def _serve() -> None:
    """Fork a child for every request; announce its id, and then its exit code."""
    # All of these only to have them imported, with what they import.
    import jinja2  # noqa: F401
    import matplotlib.figure  # noqa: F401
    import packaging.requirements  # noqa: F401
    import torch.utils.serialization
    import torch.utils.tensorboard
    import torch.utils.tensorboard.summary  # noqa: F401

    import musicemo.cli
    import musicemo.reporting.pages
    import musicemo.reporting.terminal
    import musicemo.running.search
    import musicemo.running.sweep
    from musicemo.components import registry

    for group in registry.GROUPS.values():
        registry.entry_points(group)
    gc.freeze()
    for line in sys.stdin:
        request = json.loads(line)
        pid = os.fork()
        if pid == 0:
            _become(request)
            musicemo.cli.main()
        _say({"pid": pid})
        _, status = os.waitpid(pid, 0)
        _say({"code": os.waitstatus_to_exitcode(status)})


def _say(word: Mapping[str, int]) -> None:
    sys.stdout.write(json.dumps(word) + "\n")
    sys.stdout.flush()


def _become(request: Mapping[str, Any]) -> None:
    """Be the process that was asked for."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (request["largest_file"], request["largest_file"]))
    from musicemo.components import registry

    if request["path"]:
        sys.path[:0] = request["path"]
        registry.entry_points.cache_clear()
    os.chdir(request["folder"])
    os.environ.update(request["environment"])
    sys.argv = ["musicemo", *request["arguments"]]
    flags = os.O_RDWR | os.O_CREAT | os.O_NOCTTY
    for number, stream in enumerate(request["streams"], start=1):
        os.dup2(os.open(stream, flags, 0o600), number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)


if __name__ == "__main__":
    _serve()
