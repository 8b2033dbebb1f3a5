"""Many small pieces of work over the processor's cores, in processes that may die without taking the program along."""

from __future__ import annotations

import collections
import contextlib
import itertools
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe, wait
from pathlib import Path
from typing import Any, Generic, TypeVar

from musicemo.errors import RunError

__all__ = ["Outcome", "WorkerDied", "cores", "run_tasks", "unbroken"]

_T = TypeVar("_T")
_R = TypeVar("_R")

#: A process works for one core, so its libraries are not to start threads for all of them.
_ONE_THREAD = {
    f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL", "NUMBA", "VECLIB_MAXIMUM")
}
#: What a process runs. It does not import the main program, so that scripts need no guard, and notebooks work.
_PROGRAM = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[2]); "
    "from musicemo.workers import serve; serve(int(sys.argv[1]))"
)
#: Seconds until a process that was asked to end is killed.
_PATIENCE = 5.0

_unbroken = threading.Lock()


class WorkerDied(Exception):
    """The process that worked on a task ended before the task did: it crashed, or was killed for its memory."""


@dataclass(frozen=True, slots=True)
class Outcome(Generic[_T, _R]):
    """What became of a task: a value, or the error that it raised."""

    task: _T
    value: _R | None = None
    error: Exception | None = None


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
        RunError: A process cannot be started.
    """
    if jobs == 0:
        for task in tasks:
            yield _attempt(function, task)
        return
    left = iter(tasks)
    busy: dict[Connection[Any, Any], _Worker] = {}
    try:
        for task in itertools.islice(left, jobs or cores()):
            _give(busy, function, task)
        while busy:
            for connection in wait(list(busy)):
                assert isinstance(connection, Connection)
                worker = busy[connection]
                try:
                    outcome = worker.receive()
                except EOFError:
                    del busy[connection]
                    outcome = Outcome(worker.task, error=WorkerDied(worker.bury()))
                if outcome is None:
                    continue
                for task in itertools.islice(left, 1):
                    if busy.pop(connection, None) and worker.give(task):
                        busy[connection] = worker
                    else:
                        worker.end()
                        _give(busy, function, task)
                    break
                else:
                    if busy.pop(connection, None):
                        worker.end()
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


@contextlib.contextmanager
def unbroken() -> Iterator[None]:
    """Do something, such as replacing a file, that the end of the program should wait for."""
    with _unbroken:
        yield


def serve(descriptor: int) -> None:
    """Be a process of `run_tasks`: read a function, then tasks, and answer each, until the parent hangs up."""
    connection: Connection[Any, Any] = Connection(descriptor)
    function = connection.recv()
    connection.send(None)
    tasks: queue.SimpleQueue[Any] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(connection, tasks), daemon=True).start()
    while True:
        outcome = _attempt(function, tasks.get())
        try:
            connection.send(outcome)
        except OSError:
            time.sleep(2 * _PATIENCE)  # the parent is gone, and the listener ends this process
        except Exception as error:  # what cannot be pickled
            told = RuntimeError(f"{type(outcome.error or outcome.value).__name__}: {outcome.error or error}")
            connection.send(Outcome(outcome.task, error=told))


def _listen(connection: Connection[Any, Any], tasks: queue.SimpleQueue[Any]) -> None:
    try:
        while True:
            tasks.put(connection.recv())
    except (EOFError, OSError):
        _unbroken.acquire(timeout=_PATIENCE)
        os._exit(0)


def _attempt(function: Callable[[_T], _R], task: _T) -> Outcome[_T, _R]:
    try:
        return Outcome(task, function(task))
    except Exception as error:
        return Outcome(task, error=error)


def _give(busy: dict[Connection[Any, Any], _Worker], function: Callable[[Any], Any], task: Any) -> None:
    worker = _Worker(function)
    busy[worker.connection] = worker
    worker.give(task)


class _Worker:
    """A process, seen from the one that started it."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self.task: Any = None
        self._ready = False
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
            self.connection.send(function)

    def give(self, task: Any) -> bool:
        """Hand a task over; return whether the process is alive to take it, or too young to say."""
        self.task = task
        try:
            self.connection.send(task)
        except OSError:
            return not self._ready
        return True

    def receive(self) -> Outcome[Any, Any] | None:
        """Return the outcome of the task; None when there is only a sign of life.

        Raises:
            EOFError: The process died at work.
            RunError: It died before.
        """
        try:
            outcome: Outcome[Any, Any] | None = self.connection.recv()
        except (EOFError, OSError) as error:
            if self._ready:
                raise EOFError from error
            raise RunError(f"a process to work in could not start: {self.bury()}") from error
        self._ready = True
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
        """End the process, once it has finished what is `unbroken`."""
        self.connection.close()
        try:
            self._process.wait(_PATIENCE + 1)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._messages.close()
