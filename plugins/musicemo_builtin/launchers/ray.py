"""Tasks on a Ray cluster, or on a Ray of this machine."""

from __future__ import annotations

import contextlib
import os
import pickle
from collections.abc import Callable, Generator, Sequence
from typing import Annotated, Any, TypeVar

from pydantic import Field

from musicemo.contracts import Needs
from musicemo.errors import InputError, RunError
from musicemo.workers import Outcome, WorkerDied, attempt, cores, pack, pack_function, unpack, unpack_function

__all__ = ["Ray"]

_T = TypeVar("_T")
_R = TypeVar("_R")

#: Seconds that runs have to record an interruption.
_PATIENCE = 30.0


class Ray:
    """Tasks of a Ray cluster, which Ray executes again if a worker or its node is lost.

    The folder of runs must be one that all nodes share. Files of code that an experiment names are sent with each run;
    installed packages must be on every node, or be named in `runtime_env`.

    Args:
        address: Address of the cluster, such as ``auto`` or ``10.0.0.1:6379``; by default, Ray starts on this machine.
        jobs: Maximum number of runs at a time; by default as many as the cluster has resources for.
        cpus: Cores per run; by default one per thread of its processes.
        gpus: GPUs per run, also a fraction; by default one per process of a run that computes on CUDA.
        memory: Memory per run in bytes; by default the measured size of the data, and of the process that read it.
        attempts: Number of times that a run is begun before it fails because its worker is lost.
        runtime_env: Ray's runtime environment: packages, environment variables, a working directory to send to the
            nodes. With a working directory, relative paths are relative to its copy.
    """

    def __init__(
        self,
        *,
        address: str | None = None,
        jobs: Annotated[int, Field(ge=1)] | None = None,
        cpus: Annotated[float, Field(ge=0)] | None = None,
        gpus: Annotated[float, Field(ge=0)] | None = None,
        memory: Annotated[int, Field(gt=0)] | None = None,
        attempts: Annotated[int, Field(ge=1)] = 3,
        runtime_env: dict[str, Any] | None = None,
    ) -> None:
        try:
            import ray
        except ImportError as error:
            raise ImportError(f"requires the library ray: pip install 'musicemo[ray]' ({error})") from error
        self._ray: Any = ray
        self._address = address
        self._jobs = jobs
        self._cpus, self._gpus, self._memory = cpus, gpus, memory
        self._attempts = attempts
        self._environment = dict(runtime_env or {})

    def workers(self, tasks: int, needs: Needs) -> int:
        """Return the number of runs that may be executed at a time; how many are is Ray's decision."""
        most = self._jobs or tasks
        if self._address is None and not needs.gpus and not self._gpus:
            most = min(most, max(1, int(self._cores() / (self._cpus or needs.threads))))
        return min(tasks, most)

    def _cores(self) -> int:
        """Return the cores of a Ray on this machine; at least as many as the runs at a time need."""
        return max(cores(), int((self._jobs or 1) * (self._cpus or 1)))

    def run(
        self, function: Callable[[_T], _R], tasks: Sequence[_T], needs: Needs
    ) -> Generator[Outcome[_T, _R], None, None]:
        """Execute the tasks on the cluster."""
        ray = self._ray
        with self._cluster():
            resources = {
                "num_cpus": needs.threads if self._cpus is None else self._cpus,
                "num_gpus": float(needs.gpus) if self._gpus is None else self._gpus,
                "memory": self._memory or needs.memory or None,
            }
            self._check(resources)
            work = ray.remote(_work).options(
                **resources, max_retries=self._attempts - 1, retry_exceptions=False
            )
            program = ray.put(pack_function(function))
            folder = None if "working_dir" in self._environment else os.getcwd()  # noqa: PTH109  # text, as it is sent
            left = iter(tasks)
            waiting: dict[Any, _T] = {}
            try:
                for task in left:
                    waiting[work.remote(program, pickle.dumps(task), folder)] = task
                    if len(waiting) == self._jobs:
                        yield self._next(waiting)
                while waiting:
                    yield self._next(waiting)
            finally:
                self._cancel(list(waiting))

    def _next(self, waiting: dict[Any, _T]) -> Outcome[_T, Any]:
        """Return the outcome of the task that ends next, and remove it."""
        (done,), _ = self._ray.wait(list(waiting), num_returns=1)
        task = waiting.pop(done)
        try:
            return unpack(task, self._ray.get(done))
        except self._ray.exceptions.RayError as error:
            lines = [line.strip() for line in str(error).splitlines() if line.strip()]
            return Outcome(task, error=WorkerDied(f"{type(error).__name__}: {lines[-1] if lines else ''}"))

    def _cancel(self, running: list[Any]) -> None:
        """Interrupt runs as Ctrl-C does, and wait until they have recorded it."""
        if not self._ray.is_initialized():  # at the end of the program, and a call would start it again
            return
        for one in running:
            self._ray.cancel(one, force=False)
        late = self._ray.wait(running, num_returns=len(running), timeout=_PATIENCE)[1] if running else []
        for one in late:  # only these: Ray can abort the program if a task that has just ended is canceled
            with contextlib.suppress(self._ray.exceptions.RayError, ValueError):
                self._ray.cancel(one, force=True)

    def _check(self, resources: dict[str, Any]) -> None:
        """Refuse what no node has: Ray would wait for it."""
        if self._address is not None:
            return  # the cluster may grow
        there = self._ray.cluster_resources()
        for name, key in (("CPU", "num_cpus"), ("GPU", "num_gpus"), ("memory", "memory")):
            if (resources[key] or 0) > there.get(name, 0):
                has = f"Ray has {there.get(name, 0):g} on this machine"
                raise InputError(f"launcher: a run needs {resources[key]:g} {name}, but {has}")

    @contextlib.contextmanager
    def _cluster(self) -> Any:
        """Connect to the cluster, or start one on this machine; and leave it again."""
        ray = self._ray
        if ray.is_initialized():
            yield
            return
        local: dict[str, Any] = {}
        if self._address is None:
            local = {"num_cpus": self._cores(), "include_dashboard": False}
        try:
            ray.init(
                address=self._address or "local",
                runtime_env=self._environment or None,
                log_to_driver=False,
                logging_level="error",
                **local,
            )
        except Exception as error:  # Ray raises the bare class when a process of its own starts too slowly
            raise RunError(f"Ray cannot be reached or started: {error}") from error
        try:
            yield
        finally:
            ray.shutdown()


def _work(program: bytes, content: bytes, folder: str | None) -> bytes:
    """Execute a task in a process of Ray's; return its outcome."""
    if folder is not None:
        try:
            os.chdir(folder)
        except OSError as error:
            reason = f"a node of Ray has no folder {folder} ({error.strerror}). Runs need a folder that all nodes share"
            return pack(Outcome(None, error=RunError(reason)))
    function = unpack_function(program)
    return pack(attempt(function, pickle.loads(content)))  # noqa: S301  # from `Ray.run`
