"""The replicates of some experiments, and the order of their runs."""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import sys
import warnings
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from musicemo import workers
from musicemo.components.hooks import Hooks
from musicemo.errors import MusicemoError, RunError
from musicemo.experiment import Experiment
from musicemo.experiment.tracks import read_tracks
from musicemo.files import expanded
from musicemo.running.pipeline import Outcome, Pipeline, TrackReader
from musicemo.running.sweep.failures import Failure, InProgress, attempt, to_failure
from musicemo.running.sweep.worker import Task, make_run
from musicemo.runs import gathered, record_death
from musicemo.training import choose_device

__all__ = ["Replicate", "Sweep"]


@dataclass(frozen=True)
class Replicate:
    """One seed and one fold of an experiment."""

    experiment: Experiment
    seed: int
    fold: int | None

    def __str__(self) -> str:
        fold = "" if self.fold is None else f", fold {self.fold}"
        return f"{self.experiment.name}, seed {self.seed}{fold}"


class Sweep:
    """Every replicate of some experiments, the first experiment's first.

    A run that fails leaves the others alone. What a run computes does not depend on whether others are made
    beside it: see `Experiment.threads`; one that begins with what an earlier experiment learns waits for it.

    Args:
        experiments: what to run.
        resume: continue unfinished runs and leave finished ones alone; None does so for variants of a matrix, and
            starts a new run instead of one that is damaged.
        device: instead of ``training.device``.
        overfit_batches: see `Pipeline`.
        jobs: runs at a time; None is as many as the cores have threads for, and one on a GPU.

    Raises:
        InputError: a device that is not there.
    """

    def __init__(
        self,
        experiments: Sequence[Experiment],
        *,
        resume: bool | None = None,
        device: str | None = None,
        overfit_batches: int = 0,
        jobs: int | None = None,
    ) -> None:
        self.replicates = [
            Replicate(experiment, seed, fold)
            for experiment in experiments
            for seed, fold in experiment.replicates()
        ]
        self._experiments = experiments
        self._resume = resume
        self._device = device
        self._overfit_batches = overfit_batches
        self._reader = TrackReader()
        #: What was warned of already: what all runs are warned of is said once.
        self._told: set[str] = set()
        self.jobs = min(self._jobs() if jobs is None else jobs, len(self.replicates))

    def _jobs(self) -> int:
        if len(self.replicates) == 1:
            return 1
        devices = {self._device or experiment.training.device for experiment in self._experiments}
        if any(choose_device(device).type != "cpu" for device in devices):
            return 1
        most = max(experiment.threads or torch.get_num_threads() for experiment in self._experiments)
        return max(1, workers.cores() // most)

    def run(self, runs: Path, hooks: Hooks) -> Iterator[tuple[Replicate, Outcome | Failure | InProgress]]:
        """Yield each replicate with its outcome: in order, or with several jobs as they are done.

        Runs that another process is training come last: they are looked at again once all others are done.

        Args:
            runs: the folder of run directories.
            hooks: the lifecycle plugins; a process of its own loads those that are installed.
        """
        left = self.replicates
        for last in (False, True):
            busy: list[Replicate] = []
            for replicate, outcome in self._run(left, runs, hooks):
                if isinstance(outcome, InProgress) and not last:
                    busy.append(replicate)
                else:
                    yield replicate, outcome
            left = busy

    def _run(
        self, replicates: Sequence[Replicate], runs: Path, hooks: Hooks
    ) -> Iterator[tuple[Replicate, Outcome | Failure | InProgress]]:
        if not replicates:
            return
        yield from (
            self._side_by_side(replicates, runs) if self.jobs > 1 else self._in_turn(replicates, runs, hooks)
        )

    def _in_turn(
        self, replicates: Sequence[Replicate], runs: Path, hooks: Hooks
    ) -> Iterator[tuple[Replicate, Outcome | Failure | InProgress]]:
        prepared: Pipeline | Failure | InProgress | None = None
        of: Experiment | None = None
        for replicate in replicates:
            experiment = replicate.experiment
            folder = runs / experiment.name
            with gathered([], self._told):
                if prepared is None or of is not experiment:
                    prepared, of = None, experiment
                    prepared = attempt(folder, self._prepare, experiment)
                outcome = (
                    attempt(folder, self._make, prepared, replicate, runs, hooks)
                    if isinstance(prepared, Pipeline)
                    else prepared
                )
            yield replicate, outcome

    def _prepare(self, experiment: Experiment) -> Pipeline:
        return Pipeline(experiment, self._device, self._overfit_batches, self._reader)

    def _make(self, pipeline: Pipeline, replicate: Replicate, runs: Path, hooks: Hooks) -> Outcome:
        resume = self._resumes(replicate.experiment)
        restart = self._resume is None
        return pipeline.run(replicate.seed, replicate.fold, runs, hooks, resume=resume, restart=restart)

    def _side_by_side(
        self, replicates: Sequence[Replicate], runs: Path
    ) -> Generator[tuple[Replicate, Outcome | Failure | InProgress]]:
        work = functools.partial(
            make_run,
            runs=runs,
            device=self._device,
            overfit_batches=self._overfit_batches,
            threads=torch.get_num_threads(),
            command=sys.argv,
        )
        tasks = [
            Task(
                index,
                one.experiment.name,
                one.experiment.source,
                one.seed,
                one.fold,
                self._resumes(one.experiment),
                self._resume is None,
            )
            for index, one in enumerate(replicates)
        ]
        self._make_features()
        ends = [*self._waits(replicates, runs), len(tasks)]
        for done in (
            done
            for begin, end in itertools.pairwise([0, *ends])
            for done in workers.run_tasks(work, tasks[begin:end], self.jobs)
        ):
            replicate = replicates[done.task.index]
            if done.value is not None:
                outcome, texts = done.value
                self._warn(replicate, texts)
                yield replicate, outcome
            elif isinstance(done.error, workers.WorkerDied):
                text = f"its process died: {done.error}"
                with contextlib.suppress(MusicemoError), warnings.catch_warnings(action="ignore"):
                    record_death(self._folder(replicate, runs), replicate.seed, replicate.fold, text)
                yield replicate, Failure(RunError(text))
            elif done.error is not None:  # such as an outcome that cannot be sent
                yield replicate, to_failure(runs / replicate.experiment.name, done.error)

    def _make_features(self) -> None:
        """Read each dataset: what it makes on first use is made here, over all cores, and not by every process."""
        tables = {
            json.dumps(one.dataset.to_table(), sort_keys=True, default=str): one for one in self._experiments
        }
        for experiment in tables.values():
            with gathered([], self._told), contextlib.suppress(Exception, SystemExit):  # which its runs tell
                read_tracks(experiment)

    def _warn(self, replicate: Replicate, texts: Sequence[str]) -> None:
        """Warn of what another process was warned of, and no other run before."""
        for text in texts:
            if text not in self._told:
                self._told.add(text)
                warnings.warn(f"{replicate}: {text}", stacklevel=2)

    def _folder(self, replicate: Replicate, runs: Path) -> Path:
        return runs / (replicate.experiment.name + ("-overfit" if self._overfit_batches else ""))

    def _waits(self, replicates: Sequence[Replicate], runs: Path) -> Iterator[int]:
        """Yield the replicates that wait for all before them, one of which they begin with."""
        made: set[Path] = set()
        for index, replicate in enumerate(replicates):
            if made & _sources(replicate.experiment, runs):
                yield index
                made.clear()
            made.add((runs / replicate.experiment.name).resolve())

    def _resumes(self, experiment: Experiment) -> bool:
        return bool(experiment.variant) if self._resume is None else self._resume


def _sources(experiment: Experiment, runs: Path) -> set[Path]:
    """Return where an experiment may look for the run that it begins with; see `find_source`."""
    if experiment.transfer is None:
        return set()
    source = expanded(experiment.transfer.source)
    folder = experiment.source.origin(("transfer", "from")).folder
    return {(folder / source).resolve(), (runs / source).resolve()}
