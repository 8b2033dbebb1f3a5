"""Contract checks for launchers."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from musicemo.contracts import Launcher, Needs
from musicemo.errors import InputError
from musicemo.testing._contract import Contract, require
from musicemo.workers import WorkerDied

__all__ = ["check_launcher"]

#: Seconds after which a closed iterator must have ended its tasks.
_PATIENCE = 200.0


#: Tasks as Python code, so that workers import nothing for them.
_VALUE = "({}, __import__('os').getpid())"
_ERROR = "from musicemo.errors import InputError; raise InputError('one', 'two')"
_LOST = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
_LOST_ONCE = """
import os, signal
if not os.path.exists({file!r}):
    open({file!r}, "w").close()
    os.kill(os.getpid(), signal.SIGKILL)
open({file!r}, "w").write("executed again")
"""
_LONG = """
import os, time
if {file!r}:
    with open({file!r}, "w") as stream:
        stream.write(str(os.getpid()))
    try:
        for _ in range(1200):  # some launchers interrupt a task between two calls
            time.sleep(0.1)
    finally:
        os.remove({file!r})
"""


def check_launcher(launcher: Any, parameters: Mapping[str, Any] | None = None) -> None:
    """Check the contract of a launcher.

    The parameters must let it execute two tasks at a time in other processes. The clauses: every task has its outcome,
    a value or an error; a task whose worker is lost is executed again, a fixed number of times; closing the iterator
    ends the tasks.

    Args:
        launcher: the class, or its installed name.
        parameters: its TOML table, without ``type``.

    Raises:
        ContractError: with a sentence per violated clause.
    """
    needs = Needs()
    with Contract("launcher", launcher, parameters) as contract, tempfile.TemporaryDirectory() as folder:
        built: Launcher = contract.configured().build()
        with contract.clause("workers", "asking for its workers"):
            counts = {tasks: built.workers(tasks, needs) for tasks in (1, 2, 1000)}
            require(
                all(0 <= count <= tasks for tasks, count in counts.items()),
                f"workers() returns {list(counts.values())} for 1, 2 and 1000 tasks; it must be from 0 to their number",
            )
        with contract.clause("values", "executing tasks"):
            tasks = [_VALUE.format(number) for number in range(3)]
            values = {one.task: one.value for one in built.run(eval, tasks, needs)}
            numbers = [(values.get(task) or (None,))[0] for task in tasks]
            require(numbers == [0, 1, 2], f"the tasks' values are {numbers} instead of 0 to 2")
            processes = [value[1] for value in values.values() if value]
            require(os.getpid() not in processes, "run() executes a task in the caller's process")
        with contract.clause("errors", "executing a task that fails, and one that loses a worker once"):
            file = str(Path(folder, "lost"))
            errors = {
                one.task: one.error for one in built.run(exec, [_ERROR, _LOST_ONCE.format(file=file)], needs)
            }
            error = errors.pop(_ERROR, None)
            require(
                isinstance(error, InputError) and error.problems == ("one", "two"),
                f"an InputError of a task arrives as {error!r}",
            )
            require(
                list(errors.values()) == [None], f"a lost task is not executed again: {list(errors.values())}"
            )
            require(Path(file).read_text() == "executed again", "a lost task is not executed again")
        with contract.clause("losses", "losing every worker"):
            (lost,) = built.run(exec, [_LOST], needs)
            require(isinstance(lost.error, WorkerDied), f"the error is {lost.error!r}, not WorkerDied")
        with contract.clause("end", "closing the iterator"):
            process = Path(folder, "process")
            outcomes = built.run(exec, [_LONG.format(file=""), _LONG.format(file=str(process))], needs)
            next(outcomes)
            _wait(lambda: process.exists() and process.read_text())
            number = int(process.read_text())
            outcomes.close()
            # Where processes are kept for further tasks, the task itself reports its end.
            _wait(lambda: not process.exists() or not _is_running(number))


def _wait(happened: Any) -> None:
    end = time.monotonic() + _PATIENCE
    while not happened():
        require(time.monotonic() < end, f"nothing happens within {_PATIENCE:g} s")
        time.sleep(0.02)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True
