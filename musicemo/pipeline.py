"""From an experiment to its runs: the stages, in order."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from musicemo import _local, _toml
from musicemo.analyses import analyse_evaluations
from musicemo.assembly import Assembly, read_tracks, split_tracks, warn_of_leaks
from musicemo.data import PARTS, Split, Tracks
from musicemo.evaluation import Evaluation
from musicemo.experiment import Experiment, fingerprint
from musicemo.registry import Hooks
from musicemo.runs import RunDirectory, describe_environment, find_run, gathered, recorded
from musicemo.training import (
    Run,
    Stopping,
    Trainer,
    choose_device,
    describe_selection,
    has_checkpoint,
    use_threads,
)
from musicemo.transfer import find_source

__all__ = ["Outcome", "Pipeline", "run_experiment"]


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

    Raises:
        InputError: what the user gave is wrong.
    """

    def __init__(self, experiment: Experiment, device: str | None = None, overfit_batches: int = 0) -> None:
        self.device = choose_device(device or experiment.training.device)
        #: What was warned of while the tracks were read, which is of every replicate.
        self.warnings: list[str] = []
        with gathered(self.warnings):
            self.tracks = read_tracks(experiment)
        self.experiment = experiment.completed(self.tracks.tasks)
        self.overfit_batches = overfit_batches

    def run(self, seed: int, fold: int | None, runs: Path, hooks: Hooks, *, resume: bool = False) -> Outcome:
        """Train, evaluate and record one replicate.

        Args:
            seed: the replicate's.
            fold: the replicate's; None without k-fold.
            runs: the folder of run directories.
            hooks: the lifecycle plugins.
            resume: continue the latest run of the same experiment, seed and fold; leave a finished one alone.

        Raises:
            InputError: what the user gave is wrong.
            RunError: the run failed; its directory says so.
        """
        told = list(self.warnings)
        with use_threads(self.experiment.threads), gathered(told):
            split = split_tracks(self.experiment, self.tracks, fold)
            replicate = _Replicate(
                self.experiment, self.tracks, split, seed, fold, self.device, self.overfit_batches, told
            )
            return replicate.run(runs, hooks, resume=resume)


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
    split: Split
    seed: int
    fold: int | None
    device: torch.device
    overfit_batches: int
    #: What was warned of so far.
    warnings: Sequence[str]

    def run(self, runs: Path, hooks: Hooks, *, resume: bool) -> Outcome:
        name = self.experiment.name + ("-overfit" if self.overfit_batches else "")
        code = self.experiment.code
        resolved = _local.kept(self.experiment.resolved(self.seed, self.fold, torch.get_num_threads()), code)
        source = self._source(runs)
        if source:
            resolved["transfer"]["from"] = str(source)
        identity = fingerprint(resolved, split=self.split.hashes["all"], overfit=self.overfit_batches)
        directory = find_run(runs, name, identity) if resume else None
        if directory and directory.results.get("status") == "done":
            return Outcome(self.seed, self.fold, directory.path, directory.results, skipped=True)
        made = Assembly(
            self.experiment, self.tracks, self.split, self.seed, self.device, self.overfit_batches, source
        )
        label = f"seed{self.seed}" + ("" if self.fold is None else f"-fold{self.fold}")
        begun = directory is not None
        directory = directory or RunDirectory.create(runs, name, label)
        try:
            run, trainer = self._prepare(made, directory, name, resolved, hooks)
        except BaseException:
            if not begun:  # so that an interruption leaves nothing that cannot be continued
                directory.discard()
            raise
        known: dict[str, Any] = {
            "name": name,
            "seed": self.seed,
            "fold": self.fold,
            "fingerprint": identity,
            "tasks": {task.name: task.to_json() for task in self.tracks.tasks},
            "warnings": self.warnings,
        }
        if self.experiment.variant:
            known["variant"] = dict(self.experiment.variant)
        if made.transfer:
            known["transfer"] = made.transfer
        if self.overfit_batches:
            known["overfit_batches"] = self.overfit_batches
        with directory, recorded(directory, run, hooks, known) as results:
            environment = describe_environment(self.device) | ({"code": _local.describe(code)} if code else {})
            directory.write_start(run.toml, environment, self.split.to_json(), code)
            warn_of_leaks(self.tracks, self.split, made.features)
            self._train(run, trainer, directory, hooks, results)
        return Outcome(self.seed, self.fold, directory.path, results)

    def _prepare(
        self, made: Assembly, directory: RunDirectory, name: str, resolved: dict[str, Any], hooks: Hooks
    ) -> tuple[Run, Trainer]:
        run = Run(
            directory=directory.path,
            name=name,
            seed=self.seed,
            settings=resolved,
            toml=_toml.write(resolved),
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
        if has_checkpoint(directory.path):
            trainer.resume()
            results["resumed_after_epoch"] = len(run.history)
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
