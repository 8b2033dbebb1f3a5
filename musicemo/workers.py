"""Tasks in several processes, which may die without taking the program along."""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import multiprocessing
import os
import pickle
import resource
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import popen_spawn_posix, spawn
from multiprocessing.context import SpawnContext, SpawnProcess
from pathlib import Path
from typing import Any, Generic, TypeVar

from pebble import ProcessExpired, ProcessPool

from musicemo.errors import InputError, MusicemoError, RunError

__all__ = [
    "Outcome",
    "WorkerDied",
    "attempt",
    "companions",
    "cores",
    "free_memory",
    "interruptible",
    "one_thread",
    "pack",
    "pack_function",
    "prepare_workers",
    "run_tasks",
    "unbroken",
    "unpack",
    "unpack_function",
    "used_memory",
]

_T = TypeVar("_T")
_R = TypeVar("_R")

#: Seconds that a worker has to leave sections that are `unbroken` or `interruptible` before it is killed.
_PATIENCE = 30.0
#: Seconds for which a worker that ended counts as alive, so that the pool reads its last messages first. It would wait
#: forever for a task whose worker it buried before it read that the worker had begun the task.
_LAST_MESSAGES = 0.3
#: An exit code beyond all others, in place of 0: to the pool, a worker with the exit code 0 had no task.
_NO_ERROR = 256

#: A worker computes on one core, so its libraries must not start threads for all of them.
_ONE_THREAD = {
    f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL", "NUMBA", "VECLIB_MAXIMUM")
}


class WorkerDied(Exception):
    """The process that worked on a task ended before the task did: it crashed, or was killed for its memory."""


@dataclass(frozen=True, slots=True)
class Outcome(Generic[_T, _R]):
    """The value of a task, or the error that it raised."""

    task: _T
    value: _R | None = None
    error: Exception | None = None


def run_tasks(
    function: Callable[[_T], _R],
    tasks: Iterable[_T],
    jobs: int | None = None,
    *,
    attempts: int = 1,
    environments: Sequence[Mapping[str, str]] = (),
) -> Generator[Outcome[_T, _R], None, None]:
    """Call `function` with every task, and yield the outcomes as they come.

    A task is taken from `tasks` when a process is free: neither tasks nor outcomes pile up. A process that dies is
    replaced, and its task is given to another process, or fails. Close the iterator to end early; an interruption does.
    Processes end with the one that started them, however it ends. They do not import the main program, so scripts need
    no guard, and notebooks work.

    Args:
        function: Picklable, from a module; use a `functools.partial` for arguments that all tasks share.
        tasks: Picklable.
        jobs: Number of processes; None is one per core, 0 works in this process.
        attempts: Number of times that a task is begun before it fails because its process dies.
        environments: Environment variables of each process, one mapping per process.

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
    program = pack_function(function)
    left = iter(tasks)
    first = list(itertools.islice(left, jobs or cores()))
    if not first:
        return
    proven = False
    with tempfile.TemporaryDirectory(prefix="musicemo-workers-") as folder:
        pool = ProcessPool(
            len(first), initializer=_begin, initargs=(program, folder, environments), context=_Context()
        )
        try:
            futures: dict[Future[bytes], tuple[_T, int]] = {}
            for task in first:
                futures[pool.schedule(_work, (task,))] = task, 1
            while futures:
                for future in wait(futures, return_when=FIRST_COMPLETED).done:
                    task, count = futures.pop(future)
                    outcome = _outcome(future, task, folder)
                    proven = True
                    if isinstance(outcome.error, WorkerDied) and count < attempts:
                        futures[pool.schedule(_work, (task,))] = task, count + 1
                        continue
                    for following in itertools.islice(left, 1):
                        futures[pool.schedule(_work, (following,))] = following, 1
                    yield outcome
        except (OSError, RuntimeError) as error:  # of the pool
            lines = filter(None, (_last_line(path) for path in Path(folder).iterdir()))
            problem = "the worker processes broke down" if proven else "a worker process ended when it started"
            raise RunError(f"{problem}: {next(lines, str(error))}") from error
        finally:
            _end(pool, folder)


@contextlib.contextmanager
def companions(
    function: Callable[[_T], _R], tasks: Sequence[_T], *, environments: Sequence[Mapping[str, str]] = ()
) -> Iterator[Callable[[], list[Outcome[_T, _R]]]]:
    """Work on tasks in processes of their own, one for each task, while this process works on.

    The processes end when the block is left, however that happens, or when this process ends.

    Args:
        function: Picklable, from a module; use a `functools.partial` for arguments that all tasks share.
        tasks: Picklable.
        environments: Environment variables of each process, one mapping per process.

    Yields:
        A function that returns the outcomes of the tasks that are done.
    """
    with tempfile.TemporaryDirectory(prefix="musicemo-workers-") as folder:
        start = (pack_function(function), folder, environments)
        pool = ProcessPool(len(tasks), initializer=_begin, initargs=start, context=_Context())
        try:
            futures = [(pool.schedule(_work, (task,)), task) for task in tasks]
            yield lambda: [_outcome(future, task, folder) for future, task in futures if future.done()]
        finally:
            _end(pool, folder)


#: Pickled functions with their arguments, which every new worker process calls first.
_preparations: list[bytes] = []


def prepare_workers(function: Callable[..., object], *arguments: object) -> None:
    """Call a function in every worker process that starts from now on, before it reads its function and its tasks.

    Args:
        function: Picklable, from an installed module.
        arguments: Picklable.
    """
    _preparations.append(pickle.dumps((function, arguments)))


def cores() -> int:
    """Return the number of cores that this process may use, by its affinity and its container's quota."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with contextlib.suppress(OSError, ValueError):
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        count = min(count, max(1, round(int(quota) / int(period))))
    return count


def free_memory() -> int:
    """Return the bytes of memory that processes can still allocate, within the limit of this process's container."""
    try:
        lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
        free = int(lines["MemAvailable"].removesuffix("kB")) * 1024
    except (OSError, LookupError, ValueError):
        free = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    with contextlib.suppress(OSError, ValueError):
        limit, used = (int(Path(f"/sys/fs/cgroup/memory.{name}").read_text()) for name in ("max", "current"))
        free = min(free, max(0, limit - used))
    return free


def used_memory() -> int:
    """Return the bytes of memory that this process has used at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def attempt(function: Callable[[_T], _R], task: _T) -> Outcome[_T, _R]:
    """Return the outcome of calling `function` with a task."""
    try:
        return Outcome(task, function(task))
    except Exception as error:
        return Outcome(task, error=error)


def pack_function(function: Callable[..., Any]) -> bytes:
    """Return a function, pickled with the preparations of worker processes."""
    return pickle.dumps((_preparations, pickle.dumps(function)))


def unpack_function(content: bytes) -> Callable[..., Any]:
    """Prepare this process, and return the function that another one has packed."""
    preparations, packed = pickle.loads(content)  # noqa: S301  # from `pack_function`
    for preparation in preparations:
        # One that fails, such as local code which needs a module of its own folder, fails the tasks that need it.
        with contextlib.suppress(Exception):
            prepare, arguments = pickle.loads(preparation)  # noqa: S301  # from `prepare_workers`
            prepare(*arguments)
    function: Callable[..., Any] = pickle.loads(packed)  # noqa: S301  # from `pack_function`
    return function


def pack(outcome: Outcome[Any, Any]) -> bytes:
    """Return an outcome without its task, pickled. A value or an error that cannot be pickled is an error."""
    try:
        return pickle.dumps((outcome.value, outcome.error and _portable(outcome.error)))
    except Exception as problem:
        return pickle.dumps((None, _portable(problem)))


def unpack(task: _T, content: bytes) -> Outcome[_T, Any]:
    """Return the outcome of a task that another process has packed."""
    try:
        value, error = pickle.loads(content)  # noqa: S301  # from `pack`
    except Exception as problem:  # a class that this process cannot import
        return Outcome(task, error=problem)
    return Outcome(task, value, error)


def _portable(error: Exception) -> Exception:
    """Return an error that can be sent; an unexpected one has a note with its traceback."""
    if not isinstance(error, MusicemoError):
        error.add_note("".join(traceback.format_exception(error)).rstrip())
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301  # pickled here
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def _outcome(future: Future[bytes], task: _T, folder: str) -> Outcome[_T, Any]:
    """Return the outcome of a task whose future is done.

    Raises:
        BrokenProcessPool: The pool has no process any more.
    """
    try:
        return unpack(task, future.result())
    except ProcessExpired as expired:
        return Outcome(task, error=WorkerDied(_cause(expired, folder)))
    except BrokenProcessPool:
        raise
    except Exception as problem:  # the task cannot be pickled
        return Outcome(task, error=problem)


def _cause(expired: ProcessExpired, folder: str) -> str:
    """Return how a process died: its signal or exit code, and the last line that it wrote."""
    cause = f"exit code {expired.exitcode % _NO_ERROR}"
    if expired.exitcode < 0:
        cause = signal.Signals(-expired.exitcode).name
    if expired.exitcode == -signal.SIGKILL:
        cause += ", as when memory runs out"
    last = _last_line(Path(folder, str(expired.pid)))
    return f"{cause}: {last}" if last else cause


def _last_line(path: Path) -> str:
    lines = path.read_text(errors="replace").strip().splitlines() if path.exists() else []
    return lines[-1].strip() if lines else ""


def _end(pool: ProcessPool, folder: str) -> None:
    """End the processes at once, except in sections that are `unbroken` or `interruptible`."""
    pool.stop()  # type: ignore[no-untyped-call]
    workers = [one for one in multiprocessing.active_children() if Path(folder, str(one.pid)).exists()]
    for worker in workers:
        worker.terminate()
    end = time.monotonic() + _PATIENCE
    for worker in workers:
        worker.join(max(0.0, end - time.monotonic()))
    late = [worker for worker in workers if worker.exitcode is None]
    for worker in late:
        worker.kill()
        worker.join()
    if late:
        time.sleep(_LAST_MESSAGES)  # or the pool takes them for processes that cannot be killed
    pool.join()


class _Popen(popen_spawn_posix.Popen):
    """A start of a process that does not import the main program."""

    def _launch(self, process_obj: Any) -> None:
        prepare = spawn.get_preparation_data

        def without_main(name: str) -> dict[str, Any]:
            data = prepare(name)
            if name is process_obj.name:  # another thread may start processes of its own
                for key in ("init_main_from_name", "init_main_from_path"):
                    data.pop(key, None)
            return data

        with _starting:
            spawn.get_preparation_data = without_main
            try:
                super()._launch(process_obj)  # type: ignore[misc]  # not in the type stubs
            finally:
                spawn.get_preparation_data = prepare


_starting = threading.Lock()


class _Process(SpawnProcess):
    """A worker as the pool sees it: with an end that it notices."""

    _ended: float | None = None

    @staticmethod
    def _Popen(process_obj: Any) -> Any:
        return _Popen(process_obj)

    def is_alive(self) -> bool:
        if super().is_alive():
            return True
        self._ended = self._ended or time.monotonic()
        return time.monotonic() - self._ended < _LAST_MESSAGES

    @property
    def exitcode(self) -> int | None:
        code = super().exitcode
        return _NO_ERROR if code == 0 else code


class _Context(SpawnContext):
    Process = _Process


# Below: in a worker process.

_function: Callable[[Any], Any] | None = None


def _begin(program: bytes, folder: str, environments: Sequence[Mapping[str, str]]) -> None:
    """Prepare a new worker process."""
    global _function
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    # The processes of a pool are daemons, which may not start processes: a run of several processes does.
    multiprocessing.current_process()._config["daemon"] = False  # type: ignore[attr-defined]
    # Decoders and crashing libraries write to standard error, where a progress bar is.
    messages = os.open(f"{folder}/{os.getpid()}", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    os.dup2(messages, 1)
    os.dup2(messages, 2)
    threading.Thread(target=_follow_parent, daemon=True).start()
    # Libraries read these variables when they are imported, which the function does.
    os.environ.update(_ONE_THREAD | _free(environments, folder))
    _function = unpack_function(program)


def _free(environments: Sequence[Mapping[str, str]], folder: str) -> dict[str, str]:
    """Return the environment that no other living process has."""
    for index, environment in enumerate(environments):
        lock = os.open(f"{folder}/environment-{index}", os.O_CREAT | os.O_WRONLY)
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # until the process ends
            return dict(environment)
        os.close(lock)
    if environments:
        raise RunError(f"there are more worker processes than the {len(environments)} environments")
    return {}


def _follow_parent() -> None:
    """End this process when its parent has ended."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)


def _work(task: Any) -> bytes:
    """Return the packed outcome of a task."""
    assert _function is not None
    os.ftruncate(2, 0)
    try:
        outcome = attempt(_function, task)
    except BaseException as error:  # SystemExit, or the interruption of an `interruptible` section
        os._exit(error.code if isinstance(error, SystemExit) and isinstance(error.code, int) else 1)
    return pack(outcome)


@contextlib.contextmanager
def unbroken() -> Iterator[None]:
    """Postpone the end of a worker process during a section, such as the replacement of a file.

    Call it in the thread that works on the task. It has no effect in other processes than workers.
    """
    ends: list[int] = []
    try:
        with _when_ended(lambda number, _: ends.append(number)):
            yield
    finally:
        if ends:
            os.kill(os.getpid(), signal.SIGTERM)


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Raise `KeyboardInterrupt` in a section when the worker process is to end, and wait until the section is left.

    Call it in the thread that works on the task. It has no effect in other processes than workers.
    """

    def interrupt(*_: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough
        raise KeyboardInterrupt

    with _when_ended(interrupt):
        yield


@contextlib.contextmanager
def _when_ended(handler: Callable[..., object]) -> Iterator[None]:
    if _function is None or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


_lock = threading.Lock()
_users = 0
_limits = contextlib.ExitStack()


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Let BLAS work in one thread, in all of the process, until the last of those who asked for it has finished.

    A matrix product that is split over threads is rounded in another order than one that is not, so that its last
    bits depend on the number of cores. The libraries that are to be limited must have been imported.
    """
    global _users
    from threadpoolctl import threadpool_limits

    with _lock:
        if not _users:
            _limits.enter_context(threadpool_limits(limits=1, user_api="blas"))
        _users += 1
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if not _users:
                _limits.close()
