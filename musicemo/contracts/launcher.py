"""The contract of launchers: where and how many at a time tasks are executed."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar, runtime_checkable

from musicemo.workers import Outcome

__all__ = ["Launcher", "Needs"]

_T = TypeVar("_T")
_R = TypeVar("_R")


@dataclass(frozen=True, slots=True)
class Needs:
    """Resources that one task uses.

    Attributes:
        threads: Number of processor threads.
        memory: Bytes of memory, as measured by the caller; 0 if that is not known.
        gpus: Number of GPUs that it computes on, which the launcher chooses.
    """

    threads: int = 1
    memory: int = 0
    gpus: int = 0


@runtime_checkable
class Launcher(Protocol):
    """Executes tasks: runs of a sweep, trials of a search, blocks of songs to extract.

    A task is a picklable description, such as the tables of an experiment with a seed and a fold, and never a dataset
    or a network. The function that executes it is picklable too, and is given the same task again after the loss of a
    worker: it must continue what the lost one began. The outcome of a task must not depend on the launcher.

    A class with the attribute ``distributed = False`` executes tasks on this machine only. Extraction then uses worker
    processes for single songs, and does not call it.

    Tasks are executed in the working directory of the caller, with the same installed packages. A process that has
    executed a task may execute further ones, so that it reads the data of several runs once.
    """

    def workers(self, tasks: int, needs: Needs) -> int:
        """Return the number of tasks that are executed at a time.

        0 asks the caller to execute them one after the other in its own process, without calling `run`.

        Args:
            tasks: Number of tasks.
            needs: What each of them needs.

        Raises:
            InputError: The resources do not exist.
        """
        ...

    def run(
        self, function: Callable[[_T], _R], tasks: Sequence[_T], needs: Needs
    ) -> Generator[Outcome[_T, _R], None, None]:
        """Call `function` with every task in another process, and yield the outcomes as they come.

        The outcome of a task holds the value, or the error that the function raised. A task whose worker is lost is
        executed again, at most a fixed number of times; then its error is `musicemo.workers.WorkerDied`. Closing the
        iterator ends all tasks; a run of an experiment is then interrupted as by Ctrl-C.

        Raises:
            InputError: The resources do not exist.
            RunError: No worker can be started.
        """
        ...
