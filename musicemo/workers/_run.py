"""Tasks handed out to processes, one at a time to each."""

from __future__ import annotations

import collections
import contextlib
import itertools
import json
import os
import pickle
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Generator, Iterable
from multiprocessing.connection import Connection, Pipe, wait
from pathlib import Path
from typing import Any, TypeVar, cast

from musicemo.errors import InputError, RunError
from musicemo.workers._serve import LONG_PATIENCE, PATIENCE, Outcome, attempt

__all__ = ["WorkerDied", "cores", "run_tasks"]

_T = TypeVar("_T")
_R = TypeVar("_R")

#: A process works for one core, so its libraries are not to start threads for all of them.
_ONE_THREAD = {
    f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL", "NUMBA", "VECLIB_MAXIMUM")
}
#: What a process runs. It does not import the main program, so that scripts need no guard, and notebooks work.
_PROGRAM = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[2]); "
    "from musicemo.workers._serve import serve; serve(int(sys.argv[1]))"
)


class WorkerDied(Exception):
    """The process that worked on a task ended before the task did: it crashed, or was killed for its memory."""


def run_tasks(
    function: Callable[[_T], _R], tasks: Iterable[_T], jobs: int | None = None
) -> Generator[Outcome[_T, _R], None, None]:
    """Call `function` with every task, and yield the outcomes as they come.

    Tasks are taken from `tasks` when a process has time for one, and a process has one at a time: neither tasks nor
    outcomes pile up. A process that dies fails its task and is replaced. Close the iterator to end early; an
    interruption does. Processes end with the one that started them, whatever ends it.

    Args:
        function: Picklable, from a module; what it needs and is the same for all tasks goes into a
            `functools.partial`.
        tasks: Picklable.
        jobs: Processes; None is one for each core, 0 works in this process.

    Raises:
        InputError: `jobs` is negative.
        RunError: A process cannot be started.
    """
    if jobs is not None and jobs < 0:
        raise InputError(f"jobs is {jobs}; it must be 0 or more")
    if jobs == 0:
        for task in tasks:
            yield attempt(function, task)
        return
    program = pickle.dumps(function)
    left = iter(tasks)
    busy: dict[Connection[Any, Any], _Worker] = {}
    proven = False
    try:
        for task in itertools.islice(left, jobs or cores()):
            _start(busy, program, task)
        while busy:
            for connection in wait(list(busy)):
                worker = busy[cast("Connection[Any, Any]", connection)]
                try:
                    outcome = worker.receive()
                except EOFError:
                    how = worker.bury()
                    if not proven:
                        raise RunError(f"a process to work in could not start: {how}") from None
                    outcome = Outcome(worker.task, error=WorkerDied(how))
                proven = True
                if outcome is None:
                    continue
                following = list(itertools.islice(left, 1))
                if not following or not worker.give(following[0]):
                    del busy[worker.connection]
                    worker.end()
                    for task in following:
                        _start(busy, program, task)
                yield outcome
    finally:
        for worker in busy.values():
            worker.connection.close()
        for worker in busy.values():
            worker.end()


def cores() -> int:
    """Return how many cores this process may use, be it told by its affinity or by its container's quota."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with contextlib.suppress(OSError, ValueError):
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        count = min(count, max(1, round(int(quota) / int(period))))
    return count


def _start(busy: dict[Connection[Any, Any], _Worker], program: bytes, task: Any) -> None:
    worker = _Worker(program)
    busy[worker.connection] = worker
    worker.give(task)


class _Worker:
    """A process, seen from the one that started it."""

    def __init__(self, program: bytes) -> None:
        self.task: Any = None
        # Decoders and crashing libraries write to standard error, where a progress bar is.
        self._messages = tempfile.TemporaryFile(mode="a+b")  # noqa: SIM115  # closed by `end`
        self.connection, theirs = Pipe()
        with theirs:
            command = [sys.executable, "-c", _PROGRAM, str(theirs.fileno()), json.dumps(sys.path)]
            try:
                self._process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=self._messages,
                    stderr=self._messages,
                    pass_fds=[theirs.fileno()],
                    env=os.environ | _ONE_THREAD,
                    process_group=0,  # Ctrl-C is for the parent to deal with
                )
            except OSError as error:
                self.connection.close()
                self._messages.close()
                raise RunError(f"a process to work in cannot be started: {error.strerror or error}") from error
        with contextlib.suppress(OSError):  # if it died already, `receive` tells
            self.connection.send_bytes(program)

    def give(self, task: Any) -> bool:
        """Hand a task over; return whether that was possible."""
        self.task = task
        try:
            self.connection.send(task)
        except OSError:
            return False
        return True

    def receive(self) -> Outcome[Any, Any] | None:
        """Return the outcome of the task; None when there is only a sign of life.

        Raises:
            EOFError: The process died.
        """
        try:
            outcome: Outcome[Any, Any] | None = self.connection.recv()
        except OSError as error:
            raise EOFError from error
        os.ftruncate(self._messages.fileno(), 0)
        return outcome

    def bury(self) -> str:
        """Wait for a process that died, and say how it did."""
        code = self._process.wait()
        self._messages.seek(0)
        lines = collections.deque((line.decode(errors="replace").strip() for line in self._messages), 1)
        self.end()
        how = f"exit code {code}"
        if code < 0:
            with contextlib.suppress(ValueError):
                how = signal.Signals(-code).name
        if code == -signal.SIGKILL:
            how += ", as when memory runs out"
        said = f": {lines[0]}" if lines and lines[0] else ""
        return f"{how}{said}"

    def end(self) -> None:
        """End the process, once it has finished what is `unbroken`, or told how far what is `interruptible` got."""
        self.connection.close()
        try:
            self._process.wait(LONG_PATIENCE + PATIENCE + 1)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._messages.close()
