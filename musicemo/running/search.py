"""Hyperparameter search: trials that any number of workers ask for, and the experiment of the best one."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import json
import logging
import math
import os
import secrets
import shutil
import threading
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import torch

from musicemo import messages, toml, workers
from musicemo.components import local
from musicemo.components.hooks import Hooks
from musicemo.contracts import Launcher
from musicemo.data import Task, Tracks
from musicemo.errors import InputError, MusicemoError, RunError, RunStopped
from musicemo.experiment import Experiment, Replicate, validate_experiment
from musicemo.experiment.search import (
    MEAN_SCORE,
    Choice,
    Parameter,
    Range,
    Search,
    lay_overrides,
    score,
    trial_hash,
)
from musicemo.experiment.tracks import split_tracks
from musicemo.files import make_folder, write_bytes, write_json, write_text
from musicemo.hookspecs import hookimpl
from musicemo.progress import Progress
from musicemo.running.execute import execute
from musicemo.running.launching import (
    READER,
    Failure,
    InProgress,
    attempt,
    choose_launcher,
    installed_hooks,
    measure_memory,
    needed,
)
from musicemo.running.prepare import ExperimentData, RunOptions, TrackReader
from musicemo.runs import open_run, record_death
from musicemo.runs.directory import exclusive
from musicemo.runs.identity import decisive_settings, fingerprint, hash_settings
from musicemo.runs.search import (
    ABOUT,
    DUPLICATE,
    ERROR,
    HASH,
    JOURNAL,
    OVERRIDES,
    RUNS,
    SECONDS,
    SLOT,
    TESTED,
    TRIALS,
    VALUES,
    SearchRecord,
    StudyRecord,
    TrialRecord,
    open_journal,
    read_search,
)
from musicemo.training import Run, recorded_quantities

__all__ = ["SearchObserver", "check_search", "run_search"]

#: Sets that a trial is evaluated on.
_SETS = ("train", "val")

#: Seconds between two looks at the trials of workers, and the maximum number of trials whose epochs are shown.
_LOOK, _LISTED = 2.0, 8

#: Tables of an experiment that do not decide the value of a trial.
_INDIFFERENT = ("name", "description", "launcher", "evaluation", "plugins", "search")


class SearchObserver(Protocol):
    """Is called while a search works, to print results as they come."""

    def search_started(self, experiment: Experiment, record: SearchRecord, jobs: int) -> None:
        """Announce a search, of which `jobs` trials are trained at a time. The record has earlier trials."""

    def trial_finished(self, trial: TrialRecord, study: StudyRecord) -> None:
        """Show a trial that is complete, pruned or failed, and the study that it belongs to."""

    def search_finished(self, record: SearchRecord, best: Sequence[Path]) -> None:
        """Show the best trials, and the files with their experiments; none if trials are in progress elsewhere."""


@dataclass(frozen=True)
class _Plan:
    """What every worker of a search knows; it can be pickled."""

    source: toml.Source
    runs: Path
    options: RunOptions
    #: Hash of everything that decides the value of a trial with given overrides.
    key: str

    @cached_property
    def experiment(self) -> Experiment:
        return validate_experiment(self.source)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "experiment"}

    @property
    def search(self) -> Search:
        search = self.experiment.search
        assert search is not None
        return search

    @property
    def folder(self) -> Path:
        return self.runs / self.experiment.name

    @property
    def folds(self) -> list[int | None]:
        """The outer folds, each with a study of its own; None for one study of all replicates."""
        if self.search.settings.inner_folds is None:
            return [None]
        return list(dict.fromkeys(replicate.fold for replicate in self.experiment.replicates()))

    def study_name(self, fold: int | None) -> str:
        return self.key if fold is None else f"{self.key}-fold{fold}"

    def replicates(self, trial: Experiment, fold: int | None) -> list[Replicate]:
        """Return the replicates of a trial: every seed and fold, or every seed and inner fold."""
        count = self.search.settings.inner_folds
        if count is None:
            return trial.replicates()
        return [
            Replicate.of(trial, seed, fold, (number, count)) for seed in trial.seeds for number in range(count)
        ]

    def open_study(self, fold: int | None, number: int = 0) -> Any:
        """Return Optuna's study, which is created if there is none.

        Args:
            fold: the outer fold.
            number: number of the next trial, which decides the random numbers of the sampler.
        """
        import optuna

        study = optuna.create_study(
            storage=open_journal(self.folder),
            study_name=self.study_name(fold),
            direction="maximize" if self.search.maximizes else "minimize",
            load_if_exists=True,
            pruner=self._pruner(),
        )
        study.sampler = self._sampler(number)
        return study

    def begin_study(self, fold: int | None) -> None:
        """Record what the search optimizes and how, and that it is the one that was run last."""
        settings = self.search.settings
        about = {
            "key": self.key,
            "fold": fold,
            "runs": len(self.replicates(self.experiment, fold)),
            "epochs": self.experiment.training.epochs,
            "trials": self.search.trials,
            "begun": time.time(),
            **{name: getattr(settings, name) for name in ("metric", "sampler", "pruner", "inner_folds")},
        }
        self.open_study(fold).set_user_attr(ABOUT, about)

    def _sampler(self, number: int) -> Any:
        from optuna import samplers

        settings = self.search.settings
        seed = int(hashlib.sha256(f"{settings.seed} {number}".encode()).hexdigest()[:8], 16)
        if settings.sampler == "tpe":
            return samplers.TPESampler(seed=seed, constant_liar=True)
        if settings.sampler == "gp":
            return samplers.GPSampler(seed=seed)
        return samplers.RandomSampler(seed=seed)  # a grid sets every value itself

    def _pruner(self) -> Any:
        from optuna import pruners

        settings = self.search.settings
        first = settings.warmup_epochs + 1  # epoch that can be the last
        if settings.pruner == "median":
            return pruners.MedianPruner(settings.startup_trials, first)
        if settings.pruner == "halving":
            return pruners.SuccessiveHalvingPruner(min_resource=first)
        if settings.pruner == "hyperband":
            replicates = len(self.replicates(self.experiment, self.folds[0]))
            most = self.experiment.training.epochs * replicates
            return pruners.HyperbandPruner(min_resource=first, max_resource=max(first, most))
        return pruners.NopPruner()


class _Pruning:
    """A lifecycle plugin that reports the value of each epoch, and stops the run of a trial that is pruned.

    The epochs of a trial's replicates are counted one after the other. After each, the value of the trial is the mean
    over the finished replicates and the current epoch.
    """

    def __init__(self, trial: Any, search: Search, epochs: int, total: int) -> None:
        self._trial = trial
        self._search = search
        self._epochs = epochs
        self._total = total
        self._reported = set(trial.storage.get_trial(trial._trial_id).intermediate_values)
        self._finished: list[float] = []
        self.pruned = ""

    def replicate_finished(self, value: float) -> None:
        """Add the value of a replicate."""
        self._finished.append(value)

    @hookimpl
    def musicemo_epoch_finished(self, run: Run, record: dict[str, float]) -> None:
        """Report the value, and stop the run if the trial is pruned."""
        value = score(self._search.settings.metric, record, _kinds(run.tasks))
        step = len(self._finished) * self._epochs + int(record["epoch"])
        if not math.isfinite(value) or step in self._reported:
            return
        mean = sum([*self._finished, value]) / (len(self._finished) + 1)
        self._trial.report(mean, step)
        last = record["epoch"] == self._epochs
        if last and len(self._finished) + 1 == self._total:
            return  # the trial is complete
        if self._trial.should_prune():
            self.pruned = f"the trial is pruned: {self._search.settings.metric} is {mean:.4g}"
            if not last:
                run.stop(self.pruned, evaluate=False)


@dataclass(frozen=True)
class _Claim:
    """A trial that this worker trains, with the lock of its folder."""

    number: int
    overrides: Mapping[str, Any]
    lock: int


class _Worker:
    """Asks for trials of a study and trains them, in some process."""

    def __init__(self, plan: _Plan, fold: int | None, reader: TrackReader, hooks: Hooks) -> None:
        self._plan = plan
        self._fold = fold
        self._reader = reader
        self._hooks = hooks
        self._study = plan.open_study(fold)

    def work(self, slot: str) -> None:
        """Continue a trial whose worker was lost, or ask for a new one, and train it. Do nothing if there is none.

        Args:
            slot: name of the task. A trial that an earlier worker began for it comes first.
        """
        with exclusive(self._plan.folder):
            claim = self._claim(slot)
        if claim is None:
            return
        try:
            digest = trial_hash(claim.overrides)
            result = attempt(self._plan.folder / TRIALS / digest, self._train, claim, digest)
            if isinstance(result, InProgress):
                return  # the process that trains one of its runs was not of this search
            with exclusive(self._plan.folder):
                self._tell(digest, claim.number, result)
        finally:
            os.close(claim.lock)

    def _claim(self, slot: str) -> _Claim | None:
        trials = self._study.get_trials(deepcopy=False)
        running = [trial for trial in trials if trial.state.name == "RUNNING"]
        for trial in sorted(running, key=lambda trial: trial.user_attrs.get(SLOT) != slot):
            if claim := self._take(trial.number, slot):
                return claim
        waiting = [trial for trial in trials if trial.state.name == "WAITING"]
        number = len(trials) - len(waiting)
        if number >= self._plan.search.trials:
            return None
        self._study.sampler = self._plan._sampler(number)
        if self._plan.search.settings.sampler == "grid" and not waiting:
            values = next(v for index, v in enumerate(self._plan.search.combinations()) if index == number)
            self._study.enqueue_trial(values)
        trial = self._study.ask()
        trial.set_user_attr(SLOT, slot)
        return self._take(trial.number, slot)

    def _take(self, number: int, slot: str) -> _Claim | None:
        """Claim a trial without a result; None if there is a result of its overrides, or if it is being trained."""
        import optuna

        frozen = self._study.get_trials(deepcopy=False)[number]
        overrides = frozen.user_attrs.get(OVERRIDES)
        if overrides is None:
            trial = optuna.trial.Trial(self._study, frozen._trial_id)
            overrides, _ = self._plan.search.choose(functools.partial(_suggest, trial))
            trial.set_user_attr(OVERRIDES, overrides)
            trial.set_user_attr(HASH, trial_hash(overrides))
        digest = trial_hash(overrides)
        for other in self._study.get_trials(deepcopy=False):
            if other.state.is_finished() and other.user_attrs.get(HASH) == digest:
                self._copy(other, number)
                return None
        lock = self._lock(digest)
        if lock is None:
            return None  # whoever trains these overrides tells all trials that have them
        optuna.trial.Trial(self._study, frozen._trial_id).set_user_attr(SLOT, slot)
        return _Claim(number, overrides, lock)

    def _lock(self, digest: str) -> int | None:
        """Return the descriptor of the lock on a trial's folder; None if another process has it."""
        folder = self._plan.folder / TRIALS / digest
        try:
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / (".lock" if self._fold is None else f".lock-fold{self._fold}")
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
        except OSError as error:
            raise RunError(f"{folder}: cannot be written: {error.strerror}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        return descriptor

    def _copy(self, other: Any, number: int) -> None:
        """Tell the study that a trial has the result of another one with the same overrides."""
        trial = self._study.get_trials(deepcopy=False)[number]
        attributes = {
            name: other.user_attrs[name] for name in (VALUES, RUNS, ERROR) if name in other.user_attrs
        }
        attributes[DUPLICATE] = other.user_attrs.get(DUPLICATE, other.number)
        for name, value in attributes.items():
            self._study._storage.set_trial_user_attr(trial._trial_id, name, value)
        for step, value in other.intermediate_values.items():
            if step not in trial.intermediate_values:
                self._study._storage.set_trial_intermediate_value(trial._trial_id, step, value)
        complete = other.state.name == "COMPLETE"
        self._study.tell(number, other.value if complete else None, state=None if complete else other.state)

    def _tell(self, digest: str, number: int, result: tuple[bool, Mapping[str, Any]] | Failure) -> None:
        """Record the result of a trial, and of all others that wait for it."""
        from optuna.trial import TrialState

        trial = self._study.get_trials(deepcopy=False)[number]
        if trial.state.is_finished():  # the launcher counted this worker as lost
            return
        complete, attributes = (False, {ERROR: str(result.error)}) if isinstance(result, Failure) else result
        for name, value in attributes.items():
            self._study._storage.set_trial_user_attr(trial._trial_id, name, value)
        if complete:
            self._study.tell(number, sum(attributes[VALUES]) / len(attributes[VALUES]))
        else:
            failed = isinstance(result, Failure)
            self._study.tell(number, state=TrialState.FAIL if failed else TrialState.PRUNED)
        told = self._study.get_trials(deepcopy=False)
        for other in told:
            if other.state.name == "RUNNING" and other.user_attrs.get(HASH) == digest:
                self._copy(told[number], other.number)

    def _train(self, claim: _Claim, digest: str) -> tuple[bool, dict[str, Any]]:
        """Train the replicates of a trial; return whether it is complete, and not pruned, and its attributes.

        Raises:
            RunError: a run failed, or the metric is not finite.
        """
        import optuna

        plan = self._plan
        search = plan.search
        source = _trial_source(plan, claim.overrides)
        source.table |= {"name": digest, "description": _describe(plan.experiment.name, claim)}
        source.search = {"name": plan.experiment.name, "trial": claim.number, "study": plan.key}
        experiment = validate_experiment(source)
        data = self._reader.read(experiment)
        kinds = _kinds(data.tracks.tasks)
        replicates = plan.replicates(experiment, self._fold)
        study_trial = self._study.get_trials(deepcopy=False)[claim.number]
        trial = optuna.trial.Trial(self._study, study_trial._trial_id)
        pruning = _Pruning(trial, search, experiment.training.epochs, len(replicates))
        options = replace(plan.options, resume=True, sets=_SETS, sources=plan.runs)
        values: list[float] = []
        directories: list[str] = []
        seconds = 0.0
        self._hooks.register(pruning, "search")
        try:
            for replicate in replicates:
                try:
                    outcome = execute(replicate, data, plan.folder / TRIALS, self._hooks, options)
                except RunStopped:
                    if not pruning.pruned:
                        raise
                    break
                directories.append(outcome.directory.relative_to(plan.folder).as_posix())
                seconds += sum(outcome.results["durations"].values())
                values.append(_value(search.settings.metric, outcome.directory, outcome.results, kinds))
                pruning.replicate_finished(values[-1])
                if pruning.pruned:
                    break
        finally:
            self._hooks.manager.unregister(pruning)
        attributes = {VALUES: values, RUNS: directories, SECONDS: seconds}
        return len(values) == len(replicates), attributes


def _describe(name: str, claim: _Claim) -> str:
    values = ", ".join(f"{key} = {toml.inline(value)}" for key, value in claim.overrides.items())
    return f"Trial {claim.number} of the search {name}: {values}"


def _trial_source(plan: _Plan, overrides: Mapping[str, Any]) -> toml.Source:
    """Return the tables of an experiment with the overrides of a trial."""
    source = lay_overrides(plan.source, overrides, plan.search.places)
    source.drop("search")
    source.variant |= overrides
    return source


def _value(metric: str, directory: Path, results: Mapping[str, Any], kinds: Mapping[str, Any]) -> float:
    """Return the value of a run: the metric in the epoch whose weights it keeps.

    Raises:
        RunError: the value is not finite.
    """
    epoch = results["best_epoch"]
    history = open_run(directory).history
    value = score(metric, history[epoch - 1], kinds) if 0 < epoch <= len(history) else math.nan
    if not math.isfinite(value):
        raise RunError(f"{directory}: {metric} is not finite in the best epoch, {epoch}")
    return value


def _kinds(tasks: Sequence[Task]) -> dict[str, Any]:
    return {task.name: task.kind for task in tasks}


def _suggest(trial: Any, parameter: Parameter) -> Any:
    """Return Optuna's value of a parameter."""
    if isinstance(parameter, Choice):
        return trial.suggest_categorical(parameter.name, list(parameter.options))
    assert isinstance(parameter, Range)
    low, high, step, log = (getattr(parameter.settings, name) for name in ("low", "high", "step", "log"))
    if parameter.settings.whole:
        return trial.suggest_int(parameter.name, low, high, step=step or 1, log=log)
    return trial.suggest_float(parameter.name, float(low), float(high), step=step and float(step), log=log)


def _execute_slot(slot: tuple[int | None, str], *, plan: _Plan, threads: int) -> list[logging.LogRecord]:
    """Train one trial in a process of its own; return the log records of the warnings.

    Args:
        slot: the outer fold, and the name of the task.
        plan: the search.
        threads: threads of the parent process.
    """
    torch.set_num_threads(threads)
    fold, name = slot
    with workers.interruptible(), messages.withheld() as collector:
        _Worker(plan, fold, READER, installed_hooks()).work(name)
        return collector.records


def run_search(
    experiment: Experiment,
    runs: Path,
    *,
    options: RunOptions,
    jobs: int | None = None,
    launcher: str | Launcher | None = None,
    hooks: Hooks,
    observer: SearchObserver | None = None,
) -> list[Experiment]:
    """Run or continue the search of an experiment; return the experiment of the best trial.

    Trials see the training and the validation set only. The runs of the returned experiment, which evaluate the test
    set, continue those of the best trial, so that they train nothing.

    Args:
        experiment: an experiment with ``[search]``.
        runs: the folder of run directories.
        options: device and so on.
        jobs: the parameter ``jobs`` of the launcher: maximum number of trials at a time.
        launcher: a launcher, or the name of one, instead of ``[launcher]``.
        hooks: the lifecycle plugins; a process of its own loads those that are installed.
        observer: is called with each result.

    Returns:
        The experiment of the best trial; with nested cross-validation, one for each outer fold. Nothing if another
        process is training trials of the search.

    Raises:
        InputError: the search does not fit the data, or the search of an earlier version of musicemo.
        RunError: no trial is complete.
    """
    assert experiment.search is not None
    if options.overfit_batches:
        raise InputError(f"{experiment.source.file}: --overfit-batches cannot be used with [search]")
    if options.resume is False:
        folder = runs / experiment.name
        raise InputError(
            f"{experiment.source.file}: a search always continues, so --no-resume cannot be used with it. Remove "
            f"{folder} or set another name to start a new one"
        )
    _open_folder(runs / experiment.name)
    reader = TrackReader()
    options.choose_device(experiment)
    data = reader.read(experiment)
    check_search(experiment, data.tracks)
    plan = _Plan(experiment.source, runs, options, _key(experiment, data))
    vars(plan)["experiment"] = experiment
    for fold in plan.folds:
        plan.begin_study(fold)
    record = _read(plan)
    slots = _slots(plan, record)
    chosen = choose_launcher([experiment], launcher, jobs) if isinstance(launcher, str | None) else launcher
    count = _workers(chosen, experiment, options, len(slots))
    if observer:
        observer.search_started(experiment, record, count or 1)
    shown = {(study.name, trial.number) for study in record.studies for trial in study.finished}

    def show() -> SearchRecord:
        record = _read(plan)
        for study in record.studies:
            for trial in study.finished:
                if (study.name, trial.number) not in shown:
                    shown.add((study.name, trial.number))
                    if observer:
                        observer.trial_finished(trial, study)
        return record

    while slots:  # a trial that waited for a worker which was lost is trained in the next round
        if count == 0:
            for fold, name in slots:
                _Worker(plan, fold, reader, hooks).work(name)
                show()
        else:
            with Progress("Searching", "trials") as bar, _trials_shown(plan, bar):
                bar.update(0, len(slots))
                with contextlib.closing(_launch(chosen, plan, slots)) as outcomes:
                    for done, _ in enumerate(outcomes, start=1):
                        with bar.aside():
                            show()
                        bar.update(done, len(slots))
        record = show()
        left = _slots(plan, record)
        slots = left if len(left) < len(slots) else []
    if any(not trial.finished for study in record.studies for trial in study.trials):
        if observer:
            observer.search_finished(record, [])
        return []
    with exclusive(plan.folder):  # another process may have worked on the same search
        record = _read(plan)
        winners = [_winner(plan, study) for study in record.studies]
        best = [_write_best(plan, *pair) for pair in zip(winners, record.studies, strict=True)]
        for study in record.studies:
            if study.best and study.best.number not in study.tested:
                plan.open_study(study.fold).set_user_attr(TESTED, [*study.tested, study.best.number])
    if observer:
        observer.search_finished(_read(plan), best)
    return winners


def _slots(plan: _Plan, record: SearchRecord) -> list[tuple[int | None, str]]:
    """Return a task for each trial that has no result: the outer fold, and a name of the task."""
    return [
        (study.fold, secrets.token_hex(8))
        for study in record.studies
        for _ in range(plan.search.trials - len(study.finished))
    ]


def _read(plan: _Plan) -> SearchRecord:
    record = read_search(plan.folder, plan.key)
    assert record is not None
    return record


def _open_folder(folder: Path) -> None:
    """Create the folder of a search, and open its journal.

    Raises:
        InputError: Optuna is not installed, or the journal cannot be read.
        RunError: the folder cannot be written.
    """
    make_folder(folder)
    open_journal(folder)


def _key(experiment: Experiment, data: ExperimentData) -> str:
    """Return the hash of everything that decides the value of a trial with given overrides."""
    assert experiment.search is not None
    resolved = experiment.completed(data.tracks).resolved()
    kept = {name: value for name, value in decisive_settings(resolved).items() if name not in _INDIFFERENT}
    settings = experiment.search.settings
    search = [settings.metric, experiment.search.maximizes, settings.inner_folds, settings.space]
    identity = data.identity
    content = [kept, search, identity.tasks, identity.labels, identity.features]
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:12]


def check_search(experiment: Experiment, tracks: Tracks) -> None:
    """Check that the runs of a search record its metric.

    Args:
        experiment: an experiment with ``[search]``.
        tracks: its tracks.

    Raises:
        InputError: they do not, because of the kinds of the tasks or an empty validation set.
    """
    assert experiment.search is not None
    settings = experiment.search.settings
    first = experiment.replicates()[0]
    inner = None if settings.inner_folds is None else (0, settings.inner_folds)
    split = split_tracks(experiment.completed(tracks), tracks, first.fold, inner)
    with experiment.source.blaming("search", "metric"):
        if not len(split.parts["val"]):
            raise InputError(
                f"is {settings.metric!r}, but the validation set is empty. Set split.validation above 0"
            )
        names = [MEAN_SCORE, *recorded_quantities(tracks.tasks)]
        if settings.metric not in names:
            raise InputError(f"no quantity {settings.metric!r} is recorded (of val: {', '.join(names)})")


def _workers(launcher: Launcher, experiment: Experiment, options: RunOptions, slots: int) -> int:
    """Return the number of trials at a time; 0 for one after the other in this process."""
    if not slots:
        return 0
    needs = needed([experiment], options)
    count = launcher.workers(slots, needs)
    if count:
        count = launcher.workers(slots, replace(needs, memory=measure_memory([experiment], launcher))) or 1
    return count


def _launch(launcher: Launcher, plan: _Plan, slots: Sequence[tuple[int | None, str]]) -> Generator[None]:
    """Train trials in other processes; yield when one is done."""
    needs = replace(needed([plan.experiment], plan.options), memory=measure_memory([plan.experiment], launcher))
    work = functools.partial(_execute_slot, plan=plan, threads=torch.get_num_threads())
    with contextlib.closing(launcher.run(work, slots, needs)) as outcomes:
        for outcome in outcomes:
            if outcome.error is None:
                messages.replay(outcome.value or [], plan.experiment.name)
            elif isinstance(outcome.error, workers.WorkerDied):
                _record_death(plan, *outcome.task, f"its process died: {outcome.error}")
            else:
                raise outcome.error
            yield


def _record_death(plan: _Plan, fold: int | None, slot: str, text: str) -> None:
    """Mark the trial of a lost worker as failed."""
    from optuna.trial import TrialState

    with exclusive(plan.folder):
        study = plan.open_study(fold)
        for trial in study.get_trials(deepcopy=False):
            if trial.state.name == "RUNNING" and trial.user_attrs.get(SLOT) == slot:
                study._storage.set_trial_user_attr(trial._trial_id, ERROR, text)
                study.tell(trial.number, state=TrialState.FAIL)
                folder = plan.folder / TRIALS / str(trial.user_attrs.get(HASH))
                for replicate in plan.experiment.replicates():
                    with contextlib.suppress(MusicemoError), messages.muted():
                        record_death(folder, replicate.seed, replicate.fold, text)


@contextlib.contextmanager
def _trials_shown(plan: _Plan, bar: Progress) -> Iterator[None]:
    """Show the best value so far and the epochs of the trials that workers are training beside a progress bar."""
    ended = threading.Event()

    def show() -> None:
        seconds = _LOOK
        while not ended.wait(seconds):
            begin = time.monotonic()
            with contextlib.suppress(MusicemoError, OSError):
                bar.detail("; ".join(_progress(_read(plan))))
            seconds = max(_LOOK, 20 * (time.monotonic() - begin))

    thread = threading.Thread(target=show, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _progress(record: SearchRecord) -> Iterator[str]:
    for study in record.studies:
        if study.best:
            yield f"best {study.best.value:.4g} (trial {study.best.number})"
    running = [trial for study in record.studies for trial in study.of("running")]
    if running:
        about = record.studies[0].about
        total = about["epochs"] * about["runs"]
        listed = [f"{one.number} (epoch {max(one.epochs, default=0)} of {total})" for one in running[:_LISTED]]
        yield "running " + ", ".join([*listed, *(["..."] if len(running) > _LISTED else [])])


def _winner(plan: _Plan, study: StudyRecord) -> Experiment:
    """Return the experiment of the best trial of a study; its runs continue those of the trial.

    Raises:
        RunError: no trial is complete.
    """
    best = study.best
    if best is None:
        errors = [trial.error for trial in study.of("failed")]
        first = f". Trial {study.of('failed')[0].number}: {errors[0]}" if errors else ""
        raise RunError(f"{plan.experiment.name}: none of {len(study.trials)} trials is complete{first}")
    source = _trial_source(plan, best.overrides)
    nested = plan.search.settings.inner_folds is not None
    source.search = {
        "name": plan.experiment.name,
        "trial": best.number,
        "study": plan.key,
        **({"nested": True} if nested else {}),
    }
    if study.fold is not None:
        source.override([f"split.fold={study.fold}"])
    winner = validate_experiment(source)
    if not nested:
        for run in best.runs:
            _adopt(plan.folder / run, plan.folder, winner.name, source.search)
    return winner


def _adopt(run: Path, folder: Path, name: str, search: Mapping[str, Any]) -> None:
    """Copy the run of a trial to the folder of the experiment, to be continued there by the evaluation of all sets."""
    if not (run / "results.json").exists():
        return  # it was removed, and is trained again
    record = open_run(run)
    target = folder / run.name
    identity = dict(record.results.get("identity") or {})
    if (target / "results.json").exists() or hash_settings(record.experiment) != identity.get("experiment"):
        return  # otherwise it is trained again
    identity["experiment"] = hash_settings({**record.experiment, "name": name})
    (target / "checkpoints").mkdir(parents=True, exist_ok=True)
    for path in [*(run / "checkpoints").glob("*.pt"), run / "history.jsonl", run / "experiment.toml"]:
        shutil.copyfile(path, target / path.relative_to(run))
    kept = ("seed", "fold", "started", "tasks", "warnings", "variant")
    write_json(
        target / "results.json",
        {
            **{key: record.results[key] for key in kept if key in record.results},
            "status": "interrupted",
            "name": name,
            "search": search,
            "identity": identity,
            "fingerprint": fingerprint(identity),
        },
    )


def _write_best(plan: _Plan, winner: Experiment, study: StudyRecord) -> Path:
    """Write the experiment of the best trial with all its settings, and the files of code that it names."""
    path = plan.folder / ("best.toml" if study.fold is None else f"best-fold{study.fold}.toml")
    for name, content in {one.kept: one.content for one in winner.code}.items():
        (plan.folder / name).parent.mkdir(exist_ok=True)
        write_bytes(plan.folder / name, content)
    text = toml.write(local.kept(winner.resolved(), winner.code))
    write_text(path, f"# The best trial of the search {plan.folder / JOURNAL}.\n{text}")
    return path
