"""From an experiment to its runs: the stages, in order."""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from musicemo import toml
from musicemo.components import local as _local
from musicemo.components.hooks import Hooks
from musicemo.contracts import Dataset
from musicemo.data import PARTS, DataIdentity, Split, Tracks, collect, identify_data
from musicemo.errors import InputError
from musicemo.evaluation import Evaluation
from musicemo.experiment import Experiment
from musicemo.experiment.tracks import match_tasks, split_tracks, warn_of_leaks
from musicemo.running.analyses import analyse_evaluations
from musicemo.running.assembly import Assembly
from musicemo.running.transfer import find_source
from musicemo.runs import (
    Claim,
    LinkedRunError,
    RunDirectory,
    RunIdentity,
    RunRecord,
    claim_run,
    describe_environment,
    earlier_runs,
    find_run,
    gathered,
    recorded,
)
from musicemo.training import (
    Run,
    Stopping,
    Trainer,
    choose_device,
    content_hash,
    describe_selection,
    has_checkpoint,
    use_threads,
)

__all__ = ["Outcome", "Pipeline", "TrackReader", "run_experiment"]


@dataclass(frozen=True)
class Outcome:
    """What became of one replicate."""

    seed: int
    fold: int | None
    directory: Path
    results: Mapping[str, Any]
    #: Whether it had been done before and was left alone.
    skipped: bool = False


class Pipeline:
    """An experiment whose tracks have been read, ready to train any of its replicates.

    Args:
        experiment: the experiment.
        device: instead of ``training.device``.
        overfit_batches: train on this many batches of the training part and evaluate on them: a network that
            cannot learn them by heart has something wrong with it.
        reader: reads the tracks; it may have read them already for another experiment on the same data.

    Raises:
        InputError: what the user gave is wrong.
    """

    def __init__(
        self,
        experiment: Experiment,
        device: str | None = None,
        overfit_batches: int = 0,
        reader: TrackReader | None = None,
    ) -> None:
        self.device = choose_device(device or experiment.training.device)
        self._reading = (reader or TrackReader()).read(experiment)
        #: Warnings of reading the tracks, which every replicate has.
        self.warnings = self._reading.warnings
        self.tracks = self._reading.tracks
        self.experiment = experiment.completed(self.tracks.tasks)
        self.overfit_batches = overfit_batches

    def run(
        self,
        seed: int,
        fold: int | None,
        runs: Path,
        hooks: Hooks,
        *,
        resume: bool = False,
        restart: bool = False,
    ) -> Outcome:
        """Train, evaluate and record one replicate.

        Args:
            seed: the replicate's.
            fold: the replicate's; None without k-fold.
            runs: the folder of run directories.
            hooks: the lifecycle plugins.
            resume: continue the latest run of the same experiment, data, seed and fold; leave a finished one alone.
            restart: start a new run if the one to continue is damaged, with a warning; otherwise that is an error.

        Raises:
            InputError: what the user gave is wrong.
            RunInUseError: another process is training the run that would be continued.
            RunError: the run failed; its directory says so.
        """
        warned = list(self.warnings)
        with use_threads(self.experiment.threads), gathered(warned):
            split = split_tracks(self.experiment, self.tracks, fold)
            replicate = _Replicate(
                self.experiment,
                self.tracks,
                self._reading.identity,
                split,
                seed,
                fold,
                self.device,
                self.overfit_batches,
                warned,
            )
            return replicate.run(runs, hooks, resume=resume, restart=restart)


@dataclass(frozen=True)
class _Reading:
    tracks: Tracks
    warnings: Sequence[str]
    #: Which other target of the dataset decides the results.
    control: str | None

    @cached_property
    def identity(self) -> DataIdentity:
        return identify_data(self.tracks, [self.control] if self.control else [])


class TrackReader:
    """Reads the tracks of experiments; those of the last dataset are kept for others on the same data."""

    def __init__(self) -> None:
        self._key = ""
        self._dataset: Dataset | None = None
        #: Other target that decides the results -> the tracks.
        self._readings: dict[str | None, _Reading] = {}

    @staticmethod
    def key(experiment: Experiment) -> str:
        """Return text that is the same for experiments whose tracks are the same."""
        resolved = experiment.resolved()
        targets = {
            name: {key: task.get(key) for key in ("target", "range", "classes")}
            for name, task in resolved["tasks"].items()
        }
        code = [(str(one), one.sha256) for one in experiment.code]
        return json.dumps([resolved["dataset"], targets, code], sort_keys=True)

    def read(self, experiment: Experiment) -> _Reading:
        """Read an experiment's tracks.

        Raises:
            InputError: what the user gave is wrong.
        """
        key, control = self.key(experiment), experiment.evaluation.control
        if key != self._key or self._dataset is None:
            self._readings.clear()  # the tracks of two datasets need not fit into memory
            texts: list[str] = []
            with gathered(texts), _local.told_by_line():
                self._dataset = None
                dataset = experiment.build_dataset()
                tracks = collect(dataset, match_tasks(experiment, dataset))
            self._key, self._dataset = key, dataset
            self._readings[control] = _Reading(tracks, texts, control)
        else:
            match_tasks(experiment, self._dataset)
            first = next(iter(self._readings.values()))
            self._readings.setdefault(control, _Reading(first.tracks, first.warnings, control))
        return self._readings[control]


def run_experiment(
    experiment: Experiment,
    runs: Path,
    hooks: Hooks,
    *,
    resume: bool = False,
    device: str | None = None,
    overfit_batches: int = 0,
) -> Iterator[Outcome]:
    """Train, evaluate and record every replicate of an experiment; yield each when it is done.

    See `Pipeline` for the arguments and what is raised.
    """
    pipeline = Pipeline(experiment, device, overfit_batches)
    for seed, fold in experiment.replicates():
        yield pipeline.run(seed, fold, runs, hooks, resume=resume)


@dataclass(frozen=True)
class _Replicate:
    """One seed and one fold of an experiment."""

    experiment: Experiment
    tracks: Tracks
    data: DataIdentity
    split: Split
    seed: int
    fold: int | None
    device: torch.device
    overfit_batches: int
    #: What was warned of so far.
    warnings: Sequence[str]

    def run(self, runs: Path, hooks: Hooks, *, resume: bool, restart: bool) -> Outcome:
        name = self.experiment.name + ("-overfit" if self.overfit_batches else "")
        resolved = _local.kept(
            self.experiment.resolved(self.seed, self.fold, torch.get_num_threads()), self.experiment.code
        )
        source = self._source(runs)
        if source:
            resolved["transfer"]["from"] = str(source)
        weights = content_hash(source) if source else None
        identity = RunIdentity(resolved, self.data, self.split, weights, self.overfit_batches)
        head = {
            "name": name,
            "seed": self.seed,
            "fold": self.fold,
            "fingerprint": identity.fingerprint,
            "identity": identity.to_json(),
        }
        if self.overfit_batches:
            head["overfit_batches"] = self.overfit_batches
        label = f"seed{self.seed}" + ("" if self.fold is None else f"-fold{self.fold}")
        damaged: list[Path] = []
        if resume:
            earlier = find_run(runs / name, identity.fingerprint)
            if earlier and earlier.status == "done":
                return Outcome(self.seed, self.fold, earlier.directory, earlier.results, skipped=True)
            if not earlier:
                self._report_differences(runs / name, identity)
        while True:
            made = Assembly(
                self.experiment, self.tracks, self.split, self.seed, self.device, self.overfit_batches, source
            )
            try:
                claim = claim_run(runs, name, label, head, resume=resume, excluded=damaged)
            except LinkedRunError as error:
                if not restart:
                    raise
                damaged.append(error.directory)
                _warn_of_restart(error)
                continue
            if isinstance(claim, RunRecord):
                return Outcome(self.seed, self.fold, claim.directory, claim.results, skipped=True)
            with claim.directory, use_threads(self._threads(claim, resolved)):
                try:
                    run, trainer = self._prepare(made, claim.directory, name, resolved, hooks)
                except BaseException:
                    if not claim.earlier:  # so that an interruption leaves nothing that cannot be continued
                        claim.directory.discard()
                    raise
                resumed = has_checkpoint(claim.directory.path)
                try:
                    if resumed:
                        trainer.resume()
                except InputError as error:
                    claim.give_up(error)
                    if not restart:
                        raise
                    damaged.append(claim.directory.path)
                    _warn_of_restart(error)
                    continue
                known = head | {
                    "tasks": {task.name: task.to_json() for task in self.tracks.tasks},
                    "warnings": self.warnings,
                }
                if self.experiment.variant:
                    known["variant"] = dict(self.experiment.variant)
                if made.transfer:
                    known["transfer"] = made.transfer
                if resumed:
                    known["resumed_after_epoch"] = len(run.history)
                with recorded(claim, run, hooks, known) as results:
                    self._write_start(claim, run)
                    warn_of_leaks(self.tracks, self.split, made.features)
                    self._train(run, trainer, claim.directory, hooks, results)
                return Outcome(self.seed, self.fold, claim.directory.path, results)

    def _threads(self, claim: Claim, resolved: dict[str, Any]) -> int:
        """Return how many threads to compute with: as many as a run that is continued began with."""
        threads = int(resolved["training"]["threads"])
        began = (claim.earlier.experiment.get("training") or {}).get("threads") if claim.earlier else None
        if not began or began == threads:
            return threads
        if self.experiment.training.threads:
            warnings.warn(
                f"training.threads is {threads}; the run began with {began} and is continued with {began}",
                stacklevel=2,
            )
        resolved["training"]["threads"] = began
        return int(began)

    def _report_differences(self, folder: Path, identity: RunIdentity) -> None:
        """Warn that an earlier run of the same seed and fold is not continued, and why."""
        earlier = [
            record
            for record in earlier_runs(folder)
            if (record.seed, record.fold) == (self.seed, self.fold)
            and (record.results.get("overfit_batches") or 0) == self.overfit_batches
        ]
        if not earlier:
            return
        last = earlier[-1]
        verb = "used" if last.status == "done" else "continued"
        reasons = "; ".join(identity.differences(last)) or "it differs from this one"
        warnings.warn(
            f"the earlier run of this seed is not {verb}: {reasons}. A new run is started", stacklevel=2
        )

    def _write_start(self, claim: Claim, run: Run) -> None:
        code = self.experiment.code
        environment = describe_environment(self.device) | ({"code": _local.describe(code)} if code else {})
        environment["started"] = claim.results["started"]
        split = self.split.to_json()
        ids = [name for part in PARTS for name in self.split.track_ids(part)]
        split["data"] = self.data.to_json(ids)
        claim.directory.write_start(run.toml, environment, split, code)

    def _prepare(
        self, made: Assembly, directory: RunDirectory, name: str, resolved: dict[str, Any], hooks: Hooks
    ) -> tuple[Run, Trainer]:
        run = Run(
            directory=directory.path,
            name=name,
            seed=self.seed,
            settings=resolved,
            toml=toml.write(resolved),
            tracks=self.tracks,
            split=self.split,
            features=made.features,
            network=made.network,
            weighting=made.weighting,
            device=self.device,
            epochs=made.training.epochs,
            stopping=Stopping(made.training.early_stopping, list(self.experiment.tasks)),
            transfer=made.transfer,
        )
        return run, Trainer(run, made.training, made.objective, made.batches, made.scaling, hooks, made.rebuild)

    def _source(self, runs: Path) -> Path | None:
        """Return the checkpoint to begin with."""
        transfer, origin = self.experiment.transfer, self.experiment.source.origin(("transfer", "from"))
        if transfer is None:
            return None
        with self.experiment.source.blaming("transfer", "from"):
            return find_source(transfer.source, origin.folder, runs, self.seed, self.fold)

    def _train(
        self, run: Run, trainer: Trainer, directory: RunDirectory, hooks: Hooks, results: dict[str, Any]
    ) -> None:
        directory.write_results(results)
        hooks("run_started", run=run)
        trainer.fit()
        trained = trainer.seconds
        began = time.monotonic()
        trainer.load_best()
        evaluations: dict[str, Evaluation] = {}
        for part in (part for part in PARTS if part in trainer.parts):
            evaluations[part] = trainer.evaluate(part)
            hooks("evaluated", run=run, part=part, evaluation=evaluations[part])
        directory.write_predictions(evaluations)
        settings = self.experiment.evaluation
        if not self.overfit_batches:
            results |= analyse_evaluations(self.tracks, self.split, evaluations, settings)
        if len(run.tasks) > 1 and len(run.history) > 1 and "val" in trainer.parts:
            results["selection"] = _selection(run, trainer, evaluations)
        if trainer.conflict:
            results["gradients"] = trainer.conflict.summary()
        results |= {
            "status": "done",
            "best_epoch": run.stopping.best_epoch,
            "epochs": len(run.history),
            "monitor": {"name": run.stopping.monitor, "mode": run.stopping.mode},
            "parameters": run.network.parameter_count,
            "split": self.split.hashes,
            "metrics": {
                part: found.to_json(settings, intervals=part != "train") for part, found in evaluations.items()
            },
            "durations": {"training": trained, "evaluation": time.monotonic() - began},
        }
        hooks("run_finished", run=run, results=results)


def _warn_of_restart(error: InputError) -> None:
    warnings.warn(f"{'; '.join(error.problems)}; a new run is started", stacklevel=3)


def _selection(run: Run, trainer: Trainer, evaluations: Mapping[str, Evaluation]) -> dict[str, Any]:
    """Return what other criteria would have chosen; every checkpoint that was kept is tested."""
    tested: dict[int, Evaluation] = {}
    if "test" in trainer.parts:
        tested[run.stopping.best_epoch] = evaluations["test"]
        for task, epoch in run.stopping.task_epochs.items():
            if epoch not in tested:
                trainer.load_best(task)
                tested[epoch] = trainer.evaluate("test")
        trainer.load_best()
    return describe_selection(run.history, run.tasks, run.stopping, tested)
