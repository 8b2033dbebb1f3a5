"""Many runs: every replicate of some experiments, one after the other or in several processes."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import itertools
import json
import logging
import traceback
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any, ParamSpec, Protocol, TypeVar

import torch

from musicemo import messages, workers
from musicemo.components.hooks import Hooks, load_hooks
from musicemo.errors import InputError, MusicemoError, RunError
from musicemo.experiment import Experiment, Replicate, load_experiments
from musicemo.experiment.tracks import read_tracks
from musicemo.files import expanded
from musicemo.progress import Progress
from musicemo.running.execute import Outcome, execute
from musicemo.running.prepare import ExperimentData, RunOptions, TrackReader
from musicemo.runs import RunInUseError, record_death, unforeseen

__all__ = ["Failure", "InProgress", "Observer", "Sweep", "SweepResults", "run"]

_P = ParamSpec("_P")
_T = TypeVar("_T")

#: A worker process reads the tracks of runs on the same data once.
_READER = TrackReader()


@dataclass(frozen=True)
class Failure:
    """A replicate that has no outcome because of an error."""

    error: MusicemoError


@dataclass(frozen=True)
class InProgress:
    """A replicate that another process is training."""

    message: str


@dataclass
class SweepResults(Sequence[Outcome]):
    """The outcomes of a sweep, in the order in which they were done; and the replicates without an outcome."""

    #: Number of replicates.
    total: int
    finished: list[tuple[Replicate, Outcome]] = field(default_factory=list)
    failures: list[tuple[Replicate, MusicemoError]] = field(default_factory=list)
    #: Replicates that other processes are training.
    in_progress: list[Replicate] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.finished)

    def __getitem__(self, index: Any) -> Any:
        return [outcome for _, outcome in self.finished][index]

    def add(self, replicate: Replicate, result: Outcome | Failure | InProgress) -> None:
        """Add the result of a replicate."""
        if isinstance(result, Outcome):
            self.finished.append((replicate, result))
        elif isinstance(result, Failure):
            self.failures.append((replicate, result.error))
        else:
            self.in_progress.append(replicate)

    @property
    def done(self) -> int:
        """Number of replicates that have a result of whatever kind."""
        return len(self.finished) + len(self.failures) + len(self.in_progress)

    @property
    def skipped(self) -> int:
        """Number of runs that were finished before."""
        return sum(outcome.skipped for outcome in self)

    @property
    def seconds(self) -> float | None:
        """Mean duration of the runs that were not finished before; None before the first."""
        times = [sum(outcome.results["durations"].values()) for outcome in self if not outcome.skipped]
        return sum(times) / len(times) if times else None

    def of(self, experiment: Experiment) -> list[Outcome]:
        """Return the outcomes of an experiment, in the order of its seeds and folds."""
        outcomes = [outcome for replicate, outcome in self.finished if replicate.experiment is experiment]
        order = [(one.seed, one.fold) for one in experiment.replicates()]
        return sorted(outcomes, key=lambda outcome: order.index((outcome.seed, outcome.fold)))

    def raise_failures(self) -> None:
        """Raise an error if a replicate failed.

        Raises:
            MusicemoError: the error of a single replicate; of several, an `InputError` if each failed with one, else a
                `RunError`.
        """
        errors = [error for _, error in self.failures]
        if self.total == 1 and errors:
            raise errors[0]
        if errors:
            kind = InputError if all(isinstance(error, InputError) for error in errors) else RunError
            names = "; ".join(str(replicate) for replicate, _ in self.failures)
            raise kind(f"{len(errors)} of {self.total} runs failed: {names}")


class Observer(Protocol):
    """Is called while `run` works, to print results as they come."""

    def started(self, replicates: Sequence[Replicate], jobs: int) -> None:
        """Announce the replicates, of which `jobs` are trained at a time."""

    def finished(self, replicate: Replicate, result: Outcome | Failure | InProgress) -> None:
        """Show the result of a replicate."""


def run(
    experiments: Experiment | str | PathLike[str] | Sequence[Experiment | str | PathLike[str]],
    runs: str | PathLike[str] = "runs",
    *,
    resume: bool | None = None,
    device: str | None = None,
    overfit_batches: int = 0,
    jobs: int | None = None,
    hooks: Hooks | None = None,
    observer: Observer | None = None,
    check: bool = True,
) -> SweepResults:
    """Train, evaluate and record every seed, fold and variant of some experiments.

    A run that fails does not stop the others. Progress is shown on standard error: the epochs of a run, or the number
    of finished runs if several are trained at a time.

    Args:
        experiments: an experiment, the path of an experiment file, or several of them.
        runs: the folder in which run directories are written.
        resume: continue the latest run of the same experiment, data, seed and fold, and leave a finished one as it is.
            None does so for the variants of a matrix, and starts a new run if the earlier one is damaged.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``, instead of ``training.device``.
        overfit_batches: train and evaluate on this many training batches, as a check; 0 for the whole training set.
        jobs: runs at a time; None is one per core, and one on a GPU.
        hooks: the lifecycle plugins; None loads the installed ones.
        observer: is called with each result.
        check: raise an error at the end if a run failed; otherwise see `SweepResults.failures`.

    Returns:
        An `Outcome` for each finished run.

    Raises:
        InputError: an experiment or its data is wrong.
        RunError: a run failed.
    """
    several = [experiments] if isinstance(experiments, Experiment | str | PathLike) else experiments
    loaded = [
        experiment
        for one in several
        for experiment in ([one] if isinstance(one, Experiment) else load_experiments(Path(one)))
    ]
    options = RunOptions(device=device, resume=resume, overfit_batches=overfit_batches)
    sweep = Sweep(loaded, options, jobs=jobs)
    results = SweepResults(len(sweep.replicates))
    if observer:
        observer.started(sweep.replicates, sweep.jobs)
    several_at_a_time = Progress("Running", "runs") if sweep.jobs > 1 else contextlib.nullcontext()
    with messages.shown(default=True), several_at_a_time as bar:
        if bar:
            bar.update(0, results.total)
        for replicate, result in sweep.run(Path(runs), load_hooks() if hooks is None else hooks):
            results.add(replicate, result)
            if observer:
                with bar.aside() if bar else contextlib.nullcontext():
                    observer.finished(replicate, result)
            if bar:
                left = results.total - results.skipped
                bar.update(results.done - results.skipped, left, results.seconds, sweep.jobs)
    if check:
        results.raise_failures()
    return results


class Sweep:
    """Every replicate of some experiments, those of the first experiment first.

    A run that fails does not stop the others. The result of a run does not depend on whether others are trained beside
    it: see `Experiment.threads`. One that begins with the result of an earlier experiment waits for it.

    Args:
        experiments: the experiments.
        options: device, resuming and so on.
        jobs: runs at a time; None is as many as the cores have threads for, and one on a GPU.

    Raises:
        InputError: the device is not available.
    """

    def __init__(
        self, experiments: Sequence[Experiment], options: RunOptions, *, jobs: int | None = None
    ) -> None:
        self.replicates = [replicate for one in experiments for replicate in one.replicates()]
        self._experiments = experiments
        self._options = options
        self._reader = TrackReader()
        self.jobs = min(self._jobs() if jobs is None else jobs, len(self.replicates))

    def _jobs(self) -> int:
        if len(self.replicates) == 1:
            return 1
        if any(self._options.choose_device(experiment).type != "cpu" for experiment in self._experiments):
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
        data: ExperimentData | Failure | InProgress | None = None
        of: Experiment | None = None
        for replicate in replicates:
            experiment = replicate.experiment
            folder = runs / experiment.name
            if data is None or of is not experiment:
                data, of = None, experiment
                data = attempt(folder, self._read, experiment)
            result = (
                attempt(folder, execute, replicate, data, runs, hooks, self._options)
                if isinstance(data, ExperimentData)
                else data
            )
            yield replicate, result

    def _read(self, experiment: Experiment) -> ExperimentData:
        self._options.choose_device(experiment)
        return self._reader.read(experiment)

    def _side_by_side(
        self, replicates: Sequence[Replicate], runs: Path
    ) -> Generator[tuple[Replicate, Outcome | Failure | InProgress]]:
        work = functools.partial(
            execute_in_worker, runs=runs, options=self._options, threads=torch.get_num_threads()
        )
        self._make_features()
        ends = [*self._waits(replicates, runs), len(replicates)]
        for done in (
            done
            for begin, end in itertools.pairwise([0, *ends])
            for done in workers.run_tasks(work, list(enumerate(replicates))[begin:end], self.jobs)
        ):
            replicate = replicates[done.task[0]]
            if done.value is not None:
                result, records = done.value
                messages.replay(records, str(replicate))
                yield replicate, result
            elif isinstance(done.error, workers.WorkerDied):
                text = f"its process died: {done.error}"
                folder = runs / self._options.run_name(replicate.experiment)
                with contextlib.suppress(MusicemoError), messages.muted():
                    record_death(folder, replicate.seed, replicate.fold, text)
                yield replicate, Failure(RunError(text))
            elif done.error is not None:  # such as an outcome that cannot be sent
                yield replicate, to_failure(runs / replicate.experiment.name, done.error)

    def _make_features(self) -> None:
        """Read each dataset: what it makes on first use is made here, over all cores, and not by every process."""
        tables = {
            json.dumps(one.dataset.to_table(), sort_keys=True, default=str): one for one in self._experiments
        }
        for experiment in tables.values():
            with contextlib.suppress(Exception, SystemExit):  # its runs report errors
                read_tracks(experiment)

    def _waits(self, replicates: Sequence[Replicate], runs: Path) -> Iterator[int]:
        """Yield the replicates that wait for all before them, one of which they begin with."""
        made: set[Path] = set()
        for index, replicate in enumerate(replicates):
            if made & _sources(replicate.experiment, runs):
                yield index
                made.clear()
            made.add((runs / replicate.experiment.name).resolve())


def _sources(experiment: Experiment, runs: Path) -> set[Path]:
    """Return where an experiment may look for the run that it begins with; see `find_source`."""
    if experiment.transfer is None:
        return set()
    source = expanded(experiment.transfer.source)
    folder = experiment.source.origin(("transfer", "from")).folder
    return {(folder / source).resolve(), (runs / source).resolve()}


def execute_in_worker(
    task: tuple[int, Replicate], *, runs: Path, options: RunOptions, threads: int
) -> tuple[Outcome | Failure | InProgress, list[logging.LogRecord]]:
    """Execute a replicate in a process of its own.

    Args:
        task: the index and the replicate.
        runs: the folder of run directories.
        options: device, resuming and so on.
        threads: threads of the parent process.

    Returns:
        The result and the log records of the warnings.
    """
    torch.set_num_threads(threads)
    replicate = task[1]
    hooks = _installed_hooks()

    def work() -> Outcome:
        options.choose_device(replicate.experiment)
        return execute(replicate, _READER.read(replicate.experiment), runs, hooks, options)

    with workers.interruptible(), messages.withheld() as collector:
        return attempt(runs / replicate.source.table["name"], work), collector.records


@functools.cache
def _installed_hooks() -> Hooks:
    return load_hooks()


def attempt(
    folder: Path, function: Callable[_P, _T], *arguments: _P.args, **more: _P.kwargs
) -> _T | Failure | InProgress:
    """Call a function; return its value, or the reason why there is none, whatever a component raised."""
    try:
        return function(*arguments, **more)
    except RunInUseError as error:
        return InProgress(str(error))
    except (Exception, SystemExit) as error:
        return to_failure(folder, error)


def to_failure(folder: Path, error: BaseException) -> Failure:
    """Return a failure that can be sent to another process; the traceback of an unexpected one is written to a file."""
    if isinstance(error, InputError):
        return Failure(InputError(*error.problems))
    if isinstance(error, MusicemoError):
        return Failure(RunError(str(error)))
    text = "".join(traceback.format_exception(error))
    # An error that all replicates have is one file and one message.
    return Failure(unforeseen(error, folder / f"error-{hashlib.sha256(text.encode()).hexdigest()[:8]}.txt"))
