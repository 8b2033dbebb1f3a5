"""Tasks as jobs of a Slurm cluster."""

from __future__ import annotations

import math
import os
import pickle
import signal
import sys
import time
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field

from musicemo.contracts import Needs
from musicemo.errors import RunError
from musicemo.workers import Outcome, WorkerDied, attempt, pack, pack_function, unpack, unpack_function

__all__ = ["Submitit"]

_T = TypeVar("_T")
_R = TypeVar("_R")

#: Seconds that jobs on this machine have to record an interruption.
_PATIENCE = 30.0


class Submitit:
    """Jobs of a Slurm array, one per run.

    A job that is preempted or reaches its time limit is queued again, and continues its run. The program that submits
    the jobs waits for them. All nodes must share the folder of runs, the folder of the jobs and the installation.

    Args:
        cluster: ``slurm``, ``local`` for processes of this machine, or ``auto``: Slurm if it is installed.
        folder: Folder of the jobs' descriptions, logs and results.
        jobs: Maximum number of jobs at a time; by default all.
        partition: Slurm partition.
        minutes: Time limit of a job. A run that needs longer is resumed in a further job.
        cpus: Cores per job; by default one per thread of a run's processes.
        gpus: GPUs per job; by default one per process of a run that computes on CUDA.
        memory: Memory per job in GB; by default the measured size of the data, and of the process that read it.
        attempts: Number of times that a run is begun before it fails because its job is lost.
        parameters: Further parameters of submitit, such as ``slurm_account``.
        poll: Seconds between two looks at the jobs.
    """

    def __init__(
        self,
        *,
        cluster: Literal["auto", "slurm", "local"] = "auto",
        folder: Path = Path("submitit"),
        jobs: Annotated[int, Field(ge=1)] | None = None,
        partition: str | None = None,
        minutes: Annotated[int, Field(ge=1)] = 240,
        cpus: Annotated[int, Field(ge=1)] | None = None,
        gpus: Annotated[int, Field(ge=0)] | None = None,
        memory: Annotated[float, Field(gt=0)] | None = None,
        attempts: Annotated[int, Field(ge=1)] = 3,
        parameters: dict[str, Any] | None = None,
        poll: Annotated[float, Field(gt=0)] = 1.0,
    ) -> None:
        try:
            import submitit
        except ImportError as error:
            raise ImportError(
                f"requires the library submitit: pip install 'musicemo[submitit]' ({error})"
            ) from error
        self._submitit: Any = submitit
        self._cluster = None if cluster == "auto" else cluster
        self._folder = folder
        self._jobs = jobs
        self._partition, self._minutes = partition, minutes
        self._cpus, self._gpus, self._memory = cpus, gpus, memory
        self._attempts = attempts
        self._parameters = dict(parameters or {})
        self._poll = poll

    def workers(self, tasks: int, needs: Needs) -> int:
        """Return the number of jobs that may run at a time; how many do is the cluster's decision."""
        return min(tasks, self._jobs or tasks)

    def run(
        self, function: Callable[[_T], _R], tasks: Sequence[_T], needs: Needs
    ) -> Generator[Outcome[_T, _R], None, None]:
        """Submit the tasks as jobs, and wait for them."""
        executor = self._executor(len(tasks), needs)
        work = _Work(pack_function(function), os.getcwd())  # noqa: PTH109  # text, as it is sent
        left = list(tasks)[::-1]
        #: Job -> its task and the number of times that it was begun.
        running: dict[Any, tuple[_T, int]] = {}

        def submit(batch: Sequence[tuple[_T, int]]) -> None:
            jobs = executor.map_array(work, [pickle.dumps(task) for task, _ in batch])
            running.update(zip(jobs, batch, strict=True))

        # Slurm limits an array itself; a machine of its own must not be given all jobs at once.
        most = len(left) if executor.cluster == "slurm" else self.workers(len(left), needs)
        try:
            while left or running:
                if batch := [(left.pop(), 1) for _ in range(min(len(left), most - len(running)))]:
                    submit(batch)
                for job in [job for job in running if job.done()]:
                    task, count = running.pop(job)
                    outcome = self._outcome(job, task, local=executor.cluster == "local")
                    if isinstance(outcome.error, WorkerDied) and count < self._attempts:
                        submit([(task, count + 1)])
                    else:
                        yield outcome
                if running:
                    time.sleep(self._poll)
        finally:
            for job in running:
                job.cancel(check=False)
            end = time.monotonic() + _PATIENCE
            while (
                executor.cluster == "local"
                and not all(job.done() for job in running)
                and time.monotonic() < end
            ):
                time.sleep(0.1)

    def _executor(self, tasks: int, needs: Needs) -> Any:
        executor = self._submitit.AutoExecutor(folder=self._folder / "%j", cluster=self._cluster)
        memory = self._memory or needs.memory / 2**30
        slurm = {
            "slurm_array_parallelism": self.workers(tasks, needs),
            "slurm_max_num_timeout": self._attempts - 1,
            **({"slurm_partition": self._partition} if self._partition else {}),
        }
        try:
            executor.update_parameters(
                name="musicemo",
                timeout_min=self._minutes,
                cpus_per_task=self._cpus or needs.threads,
                gpus_per_node=needs.gpus if self._gpus is None else self._gpus,
                **({"mem_gb": math.ceil(memory)} if memory else {}),
                **(slurm if executor.cluster == "slurm" else {}),
                **self._parameters,
            )
        except (NameError, TypeError, ValueError) as error:
            raise RunError(f"submitit does not take the launcher's parameters: {error}") from error
        return executor

    def _outcome(self, job: Any, task: _T, *, local: bool) -> Outcome[_T, Any]:
        try:
            # Without a shared folder, a result that is not there never comes: submitit would wait for it.
            if local and not job.paths.result_pickle.exists():
                raise self._submitit.core.utils.UncompletedJobError("no result")
            return unpack(task, job.result())
        except (
            self._submitit.core.utils.UncompletedJobError,
            self._submitit.core.utils.FailedJobError,
        ) as error:
            lines = [line.strip() for line in (job.stderr() or str(error)).splitlines() if line.strip()]
            return Outcome(task, error=WorkerDied(f"job {job.job_id}: {lines[-1] if lines else 'no result'}"))


class _Work:
    """A function as a job: called with a task, and with the same task again after a preemption."""

    def __init__(self, program: bytes, folder: str) -> None:
        self._program = program
        self._folder = folder

    def __call__(self, content: bytes) -> bytes:
        import submitit

        os.chdir(self._folder)
        function = unpack_function(self._program)
        task = pickle.loads(content)  # noqa: S301  # from `Submitit.run`
        number = signal.Signals[f"SIG{submitit.JobEnvironment.USR_SIG}"]
        queue_again = signal.getsignal(number)
        assert callable(queue_again)  # submitit's
        code: Any = None

        def interrupt(*details: Any) -> None:
            nonlocal code
            try:
                queue_again(*details)
            except SystemExit as end:
                code = end.code
                raise KeyboardInterrupt from None  # runs record it

        signal.signal(number, interrupt)
        try:
            return pack(attempt(function, task))
        except KeyboardInterrupt:
            sys.exit(code)

    def checkpoint(self, content: bytes) -> Any:
        """Return the job that follows when this one is preempted or reaches its time limit: the same again."""
        import submitit

        return submitit.helpers.DelayedSubmission(self, content)
