"""Many runs: every replicate of some experiments, one after the other or in several processes."""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import logging
import secrets
import threading
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path
from typing import Any, Protocol

import torch

from musicemo import messages, workers
from musicemo.components.hooks import Hooks, load_hooks
from musicemo.contracts import Launcher
from musicemo.errors import InputError, MusicemoError, RunError, RunStopped
from musicemo.experiment import Experiment, Replicate, load_experiments
from musicemo.files import expanded
from musicemo.progress import Progress
from musicemo.running.ensembles import find_ensembles
from musicemo.running.execute import Outcome, execute
from musicemo.running.launching import (
    READER,
    Failure,
    InProgress,
    attempt,
    choose_launcher,
    installed_hooks,
    measure_memory,
    needed,
    to_failure,
)
from musicemo.running.prepare import ExperimentData, RunOptions, TrackReader
from musicemo.running.search import SearchObserver, run_search
from musicemo.runs import record_death

__all__ = ["Observer", "Sweep", "SweepResults", "run"]

_log = logging.getLogger(__name__)

#: Seconds between two looks at the runs of workers, and the maximum number of runs whose epochs are shown.
_LOOK, _LISTED = 2.0, 8


@dataclass
class SweepResults(Sequence[Outcome]):
    """The outcomes of a sweep, in the order in which they were done; and the replicates without an outcome."""

    #: Number of replicates.
    total: int
    #: The experiments; in place of one with ``[search]``, those of its best trials.
    experiments: Sequence[Experiment] = ()
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

    def by_run(self) -> dict[tuple[int, int, int | None], Outcome | Failure | InProgress]:
        """Return identity of the experiment, seed and fold -> the result of each run."""
        results: list[tuple[Replicate, Outcome | Failure | InProgress]] = [
            *((one, Failure(error)) for one, error in self.failures),
            *((one, InProgress("")) for one in self.in_progress),
            *self.finished,
        ]
        return {(id(one.experiment), one.seed, one.fold): result for one, result in results}

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
            MusicemoError: the error of a single replicate; of several, an `InputError` or `RunStopped` if each failed
                with one, else a `RunError`.
        """
        errors = [error for _, error in self.failures]
        if self.total == 1 and errors:
            raise errors[0]
        if errors:
            kind = next(
                (one for one in (InputError, RunStopped) if all(isinstance(error, one) for error in errors)),
                RunError,
            )
            names = "; ".join(str(replicate) for replicate, _ in self.failures)
            verb = "were stopped by a plugin" if kind is RunStopped else "failed"
            raise kind(f"{len(errors)} of {self.total} runs {verb}: {names}")


class Observer(SearchObserver, Protocol):
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
    launcher: str | Launcher | None = None,
    hooks: Hooks | None = None,
    observer: Observer | None = None,
    check: bool = True,
) -> SweepResults:
    """Train, evaluate and record every seed, fold and variant of some experiments.

    Of an experiment with ``[search]``, run or continue the search first, and then evaluate its best trial. The mean
    predictions of the members of an ensemble are evaluated and recorded when all runs are done.

    A run that fails does not stop the others. Progress is shown on standard error: the epochs of a run, or the number
    of finished runs if several are trained at a time.

    Args:
        experiments: an experiment, the path of an experiment file, or several of them.
        runs: the folder in which run directories are written.
        resume: continue the latest run of the same experiment, data, seed and fold, and leave a finished one as it is.
            None does so for the variants of a matrix, and starts a new run if the earlier one is damaged.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``, instead of ``training.device``.
        overfit_batches: train and evaluate on this many training batches, as a check; 0 for the whole training set.
        jobs: the parameter ``jobs`` of the launcher: maximum number of runs at a time.
        launcher: a launcher, or the name of one, instead of ``[launcher]``.
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
    hooks = load_hooks() if hooks is None else hooks
    with messages.shown(default=True), contextlib.ExitStack() as stack:
        final: list[Experiment] = []
        failed: list[tuple[Replicate, MusicemoError]] = []
        for one in loaded:
            if one.search is None:
                final.append(one)
                continue
            try:
                final += run_search(
                    one,
                    Path(runs),
                    options=options,
                    jobs=jobs,
                    launcher=launcher,
                    hooks=hooks,
                    observer=observer,
                )
            except RunError as error:  # the others go on
                failed.append((one.replicates()[0], error))
                if len(loaded) > 1:
                    _log.error(str(error))
        results = SweepResults(len(failed), final, failures=failed)
        if not final:
            if check:
                results.raise_failures()
            return results
        sweep = Sweep(final, options, jobs=jobs, launcher=launcher)
        ensembles = [] if overfit_batches else find_ensembles(final)
        results.experiments = [*final, *(ensemble.experiment for ensemble in ensembles)]
        results.total += len(sweep.replicates)
        sweep.read_data()
        if observer:
            observer.started(sweep.replicates, sweep.jobs)
        bar = None if sweep.in_turn else stack.enter_context(Progress("Running", "runs"))
        if bar:
            bar.update(0, results.total)
            stack.enter_context(_epochs_shown(sweep, Path(runs), bar))
        for replicate, result in sweep.run(Path(runs), hooks):
            results.add(replicate, result)
            if observer:
                with bar.aside() if bar else contextlib.nullcontext():
                    observer.finished(replicate, result)
            if bar:
                left = results.total - results.skipped
                bar.update(results.done - results.skipped, left, results.seconds, sweep.jobs)
        outcomes = results.by_run()
        results.total += sum(len(ensemble.replicates) for ensemble in ensembles)
        for ensemble in ensembles:
            for replicate, result in ensemble.run(outcomes, Path(runs), hooks, options, TrackReader()):
                results.add(replicate, result)
                if observer:
                    observer.finished(replicate, result)
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
        jobs: the parameter ``jobs`` of the launcher: maximum number of runs at a time.
        launcher: a launcher, or the name of one, instead of ``[launcher]`` of the experiments.

    Raises:
        InputError: the experiments have different launchers, or the launcher does not take these parameters.
    """

    def __init__(
        self,
        experiments: Sequence[Experiment],
        options: RunOptions,
        *,
        jobs: int | None = None,
        launcher: str | Launcher | None = None,
    ) -> None:
        self.replicates = [replicate for one in experiments for replicate in one.replicates()]
        self._experiments = experiments
        self._options = options
        self._reader = TrackReader()
        self._launcher = (
            choose_launcher(experiments, launcher, jobs) if isinstance(launcher, str | None) else launcher
        )
        #: Token that the runs which workers begin record.
        self._launch = secrets.token_hex(8)
        self._needs = needed(experiments, options)
        self._workers = self._launcher.workers(len(self.replicates), self._needs)

    @property
    def in_turn(self) -> bool:
        """Whether the runs are trained one after the other in this process."""
        return self._workers == 0

    @property
    def jobs(self) -> int:
        """Number of runs at a time."""
        return self._workers or 1

    def read_data(self) -> None:
        """Read each dataset with each table of features, unless the runs are trained in this process.

        Features that are extracted on first use are extracted here, over all cores, and not by every worker. The
        size of the features decides how many workers the memory holds.
        """
        if self.in_turn:
            return
        self._needs = replace(self._needs, memory=measure_memory(self._experiments, self._launcher))
        self._workers = self._launcher.workers(len(self.replicates), self._needs) or 1

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
        yield from self._in_turn(replicates, runs, hooks) if self.in_turn else self._launched(replicates, runs)

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

    def _launched(
        self, replicates: Sequence[Replicate], runs: Path
    ) -> Generator[tuple[Replicate, Outcome | Failure | InProgress]]:
        work = functools.partial(
            execute_in_worker, runs=runs, options=self._options, threads=torch.get_num_threads()
        )
        order = {replicate: index for index, replicate in enumerate(self.replicates)}
        tasks = [(f"{self._launch}-{order[replicate]}", replicate) for replicate in replicates]
        ends = [*self._waits(replicates, runs), len(replicates)]
        for begin, end in itertools.pairwise([0, *ends]):
            with contextlib.closing(self._launcher.run(work, tasks[begin:end], self._needs)) as outcomes:
                for done in outcomes:
                    yield done.task[1], self._result(done, runs)

    def _result(self, done: workers.Outcome[Any, Any], runs: Path) -> Outcome | Failure | InProgress:
        """Return the result of a task, and record the death of its worker."""
        _, replicate = done.task
        if done.error is None:
            assert done.value is not None
            result, records = done.value
            messages.replay(records, str(replicate))
            return result  # type: ignore[no-any-return]
        if not isinstance(done.error, workers.WorkerDied):  # such as an outcome that cannot be sent
            return to_failure(runs / replicate.experiment.name, done.error)
        text = f"its process died: {done.error}"
        folder = runs / self._options.run_name(replicate.experiment)
        with contextlib.suppress(MusicemoError), messages.muted():
            record_death(folder, replicate.seed, replicate.fold, text)
        return Failure(RunError(text))

    def epochs(self, runs: Path) -> list[tuple[int, int]]:
        """Return the numbers of finished epochs and of all epochs of the runs that workers are training.

        They are read from the run directories, wherever the workers are. Estimators have no epochs to wait for.
        """
        epochs = []
        for experiment in self._experiments:
            if experiment.fitted_at_once:
                continue
            for path in sorted((runs / self._options.run_name(experiment)).glob("*/results.json")):
                with contextlib.suppress(OSError, ValueError, LookupError):  # a worker is writing it
                    head = json.loads(path.read_bytes())
                    if head["status"] == "running" and head["launch"].startswith(f"{self._launch}-"):
                        history = path.with_name("history.jsonl")
                        done = history.read_bytes().count(b"\n") if history.exists() else 0
                        epochs.append((done, experiment.training.epochs))
        return epochs

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


@contextlib.contextmanager
def _epochs_shown(sweep: Sweep, runs: Path, bar: Progress) -> Iterator[None]:
    """Show the epochs of the runs that workers are training beside a progress bar."""
    ended = threading.Event()

    def show() -> None:
        seconds = _LOOK
        while not ended.wait(seconds):
            begin = time.monotonic()
            epochs = sweep.epochs(runs)
            listed = ", ".join(f"{done}/{total}" for done, total in epochs[:_LISTED])
            bar.detail(f"epochs {listed}{', ...' * (len(epochs) > _LISTED)}" if epochs else "")
            seconds = max(_LOOK, 20 * (time.monotonic() - begin))  # at most 5 % of a core, also for many runs

    thread = threading.Thread(target=show, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def execute_in_worker(
    task: tuple[str, Replicate], *, runs: Path, options: RunOptions, threads: int
) -> tuple[Outcome | Failure | InProgress, list[logging.LogRecord]]:
    """Execute a replicate in a process of its own.

    Args:
        task: token of the launch, by which the run is found again if the worker is lost; and the replicate.
        runs: the folder of run directories.
        options: device, resuming and so on.
        threads: threads of the parent process.

    Returns:
        The result and the log records of the warnings.
    """
    torch.set_num_threads(threads)
    launch, replicate = task
    hooks = installed_hooks()

    def work() -> Outcome:
        options.choose_device(replicate.experiment)
        return execute(replicate, READER.read(replicate.experiment), runs, hooks, options, launch)

    with workers.interruptible(), messages.withheld() as collector:
        return attempt(runs / replicate.source.table["name"], work), collector.records
