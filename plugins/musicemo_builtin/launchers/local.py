"""Tasks on the cores and the GPUs of this machine."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Sequence
from typing import Annotated, TypeVar

import torch
from pydantic import Field

from musicemo.contracts import Needs
from musicemo.workers import Outcome, cores, free_memory, run_tasks

__all__ = ["Local"]

_T = TypeVar("_T")
_R = TypeVar("_R")


class Local:
    """Worker processes on this machine: as many as its cores and its memory hold, or one per GPU.

    A worker is given one GPU by `CUDA_VISIBLE_DEVICES`, or several for runs of several processes. One worker alone is
    the main process.

    Args:
        jobs: Number of workers; by default one per core, or fewer if a run computes with several threads or the free
            memory does not hold the data of so many. On GPUs, the default is one worker per GPU.
        attempts: Number of times that a run is begun before it fails because its worker dies.
    """

    distributed = False

    def __init__(
        self, *, jobs: Annotated[int, Field(ge=1)] | None = None, attempts: Annotated[int, Field(ge=1)] = 2
    ) -> None:
        self._jobs = jobs
        self._attempts = attempts

    def workers(self, tasks: int, needs: Needs) -> int:
        """Return the number of workers; 0 for the caller's own process."""
        count = min(tasks, self._jobs or self._default(needs))
        return 0 if count == 1 else count

    def _default(self, needs: Needs) -> int:
        if needs.gpus:
            return max(1, len(_gpus()) // needs.gpus)
        held = free_memory() // needs.memory if needs.memory else cores()
        return max(1, min(cores() // needs.threads, held))

    def run(
        self, function: Callable[[_T], _R], tasks: Sequence[_T], needs: Needs
    ) -> Generator[Outcome[_T, _R], None, None]:
        """Execute the tasks in worker processes."""
        count = self.workers(len(tasks), needs) or 1
        gpus = _gpus() if needs.gpus else []
        groups = [",".join(group) for group in zip(*[iter(gpus)] * (needs.gpus or 1), strict=False)]
        environments = [
            {"CUDA_VISIBLE_DEVICES": groups[index % len(groups)]} for index in range(count) if groups
        ]
        return run_tasks(function, tasks, count, attempts=self._attempts, environments=environments)


def _gpus() -> list[str]:
    """Return the GPUs that this process may use, as `CUDA_VISIBLE_DEVICES` names them."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    count = torch.cuda.device_count()
    return list(map(str, range(count))) if visible is None else visible.split(",")[:count]
