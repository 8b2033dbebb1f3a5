"""One run in a process of its own."""

from __future__ import annotations

import functools
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from musicemo import toml, workers
from musicemo.components.hooks import Hooks, load_hooks
from musicemo.experiment import validate_experiment
from musicemo.running.pipeline import Outcome, Pipeline, TrackReader
from musicemo.running.sweep.failures import Failure, InProgress, attempt
from musicemo.runs import gathered

__all__ = ["Task", "make_run"]

#: A process reads the tracks of runs on the same data once.
_READER = TrackReader()


@dataclass(frozen=True)
class Task:
    """What another process needs to know of a replicate."""

    index: int
    name: str
    source: toml.Source
    seed: int
    fold: int | None
    resume: bool
    restart: bool


def make_run(
    task: Task, *, runs: Path, device: str | None, overfit_batches: int, threads: int, command: Sequence[str]
) -> tuple[Outcome | Failure | InProgress, list[str]]:
    """Make one run in a process of its own; return its outcome, and the warnings."""
    torch.set_num_threads(threads)
    sys.argv[:] = command  # which the run records
    hooks = _hooks()
    texts: list[str] = []

    def make() -> Outcome:
        pipeline = Pipeline(validate_experiment(task.source), device, overfit_batches, _READER)
        return pipeline.run(task.seed, task.fold, runs, hooks, resume=task.resume, restart=task.restart)

    with workers.interruptible(), gathered(texts):
        return attempt(runs / task.name, make), texts


@functools.cache
def _hooks() -> Hooks:
    return load_hooks()
