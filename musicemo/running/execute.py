"""One replicate of an experiment, from its data to its results."""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from musicemo import toml
from musicemo.components import local
from musicemo.components.hooks import Hooks
from musicemo.data import PARTS, Split, Task, Tracks
from musicemo.errors import InputError, RunStopped
from musicemo.evaluation import DEFAULT_THRESHOLD, Evaluation
from musicemo.experiment import Experiment, Replicate
from musicemo.experiment.tracks import split_tracks, warn_of_shared
from musicemo.messages import Collector, collected
from musicemo.progress import Progress
from musicemo.running.analyses import analyse_evaluations
from musicemo.running.distillation import find_teacher
from musicemo.running.prepare import ExperimentData, RunOptions, TrackReader, prepare
from musicemo.running.protocol import describe_conformity
from musicemo.running.team import Team, start_team
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
    recorded,
)
from musicemo.training import (
    Prepared,
    Pretraining,
    Recorder,
    Run,
    Stopping,
    Trainer,
    content_hash,
    describe_selection,
    has_checkpoint,
    use_threads,
)

__all__ = ["Outcome", "execute", "run_experiment", "tag_thresholds"]

_log = logging.getLogger(__name__)

#: Epochs after which a network should have learned something, and the smallest ratio of the standard deviation of its
#: predictions to that of the ratings.
_LEARNED_AFTER, _CONSTANT = 5, 0.05


@dataclass(frozen=True)
class Outcome:
    """The recorded run of one replicate."""

    seed: int
    fold: int | None
    directory: Path
    results: Mapping[str, Any]
    #: Whether the run was finished before and was left as it is.
    skipped: bool = False


def execute(
    replicate: Replicate,
    data: ExperimentData,
    runs: Path,
    hooks: Hooks,
    options: RunOptions,
    launch: str | None = None,
) -> Outcome:
    """Train, evaluate and record one replicate.

    Args:
        replicate: the seed and the fold of an experiment.
        data: the tracks of the experiment.
        runs: the folder of run directories.
        hooks: the lifecycle plugins.
        options: device, resuming and so on.
        launch: token of a launch. A run that an earlier worker began for it is continued, also without ``resume``.

    Raises:
        InputError: the experiment, its data or the run to continue is wrong.
        RunInUseError: another process is training the run that would be continued.
        RunError: the run failed; its directory records why.
        RunStopped: a lifecycle plugin stopped the run without an evaluation.
    """
    experiment = replicate.experiment.completed(data.tracks)
    hooks = hooks.of(experiment.plugins, experiment.source)
    with use_threads(experiment.threads), collected(data.warnings) as messages:
        split = split_tracks(experiment, data.tracks, replicate.fold, replicate.inner)
        device = options.choose_device(experiment)
        execution = _Execution(replicate, experiment, data, split, device, options, messages, launch)
        return execution.run(runs, hooks)


def run_experiment(
    experiment: Experiment, runs: Path, hooks: Hooks, options: RunOptions | None = None
) -> Iterator[Outcome]:
    """Execute every replicate of an experiment one after the other; yield each outcome when it is done.

    The first error ends it, where a `musicemo.running.sweep.Sweep` goes on. Without options, no run is resumed. See
    `execute` for what is raised.
    """
    options = options or RunOptions(resume=False)
    options.choose_device(experiment)
    data = TrackReader().read(experiment)
    for replicate in experiment.replicates():
        yield execute(replicate, data, runs, hooks, options)


@dataclass(frozen=True)
class _Execution:
    """One replicate on its way from its split to its results."""

    replicate: Replicate
    #: The experiment with a loss for each task.
    experiment: Experiment
    data: ExperimentData
    split: Split
    device: torch.device
    options: RunOptions
    messages: Collector
    launch: str | None

    @property
    def tracks(self) -> Tracks:
        return self.data.tracks

    @property
    def seed(self) -> int:
        return self.replicate.seed

    @property
    def fold(self) -> int | None:
        return self.replicate.fold

    def run(self, runs: Path, hooks: Hooks) -> Outcome:
        name = self.options.run_name(self.experiment)
        resume, restart = self.options.resumes(self.experiment), self.options.restarts
        resolved = local.kept(
            self.experiment.resolved(self.seed, self.fold, torch.get_num_threads()), self.experiment.code
        )
        source = self._source(runs)
        if source:
            resolved["transfer"]["from"] = str(source)
        weights = content_hash(source) if source else None
        identity = RunIdentity(resolved, self.data.identity, self.split, weights, self.options.overfit_batches)
        protocol = None
        if not self.options.overfit_batches:
            protocol = describe_conformity(self.experiment, self.tracks, self.split, self.fold, source)
        head = {
            "name": name,
            "seed": self.seed,
            "fold": self.fold,
            "fingerprint": identity.fingerprint,
            "identity": identity.to_json(),
        }
        if self.launch:
            head["launch"] = self.launch
        if self.experiment.source.search:
            head["search"] = self.experiment.source.search
        if self.options.overfit_batches:
            head["overfit_batches"] = self.options.overfit_batches
        label = f"seed{self.seed}" + ("" if self.fold is None else f"-fold{self.fold}")
        if self.replicate.inner:
            label += f"-inner{self.replicate.inner[0]}"
            head["inner_fold"] = self.replicate.inner[0]
        damaged: list[Path] = []
        if resume:
            earlier = find_run(runs / name, identity.fingerprint)
            if earlier and earlier.finished:
                return Outcome(self.seed, self.fold, earlier.directory, earlier.results, skipped=True)
            if not earlier:
                self._report_differences(runs / name, identity)
        lesson = find_teacher(self.experiment, self.tracks, self.split)
        with start_team(self.replicate, self.options, source) as team:
            while True:
                prepared = prepare(
                    self.experiment,
                    self.tracks,
                    self.split,
                    self.seed,
                    self.device,
                    self.options.overfit_batches,
                    source,
                    self.data.features,
                    team.processes,
                    self.options.sets,
                    lesson.teacher if lesson else None,
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
                        run = self._make_run(prepared, claim.directory, name, resolved)
                        pretrained = (
                            _pretrain(prepared.pretraining)
                            if prepared.pretraining and not has_checkpoint(claim.directory.path)
                            else (claim.earlier.results.get("pretraining") if claim.earlier else None)
                        )
                        trainer = Trainer(prepared, Recorder(run, hooks))
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
                    recorded_first = head | {"tasks": {task.name: task.to_json() for task in self.tracks.tasks}}
                    if self.experiment.variant:
                        recorded_first["variant"] = dict(self.experiment.variant)
                    if prepared.transfer:
                        recorded_first["transfer"] = prepared.transfer
                    if pretrained:
                        recorded_first["pretraining"] = pretrained
                    if lesson:
                        recorded_first["distillation"] = lesson.results
                    if protocol:
                        recorded_first["protocol"] = protocol
                    if resumed:
                        recorded_first["resumed_after_epoch"] = len(run.history)
                    with recorded(claim, run, hooks, recorded_first, self.messages) as results:
                        self._write_start(claim, run, hooks)
                        warn_of_shared(self.tracks, self.split, prepared.features)
                        self._train(run, trainer, team, claim.directory, hooks, results)
                    return Outcome(self.seed, self.fold, claim.directory.path, results)

    def _threads(self, claim: Claim, resolved: dict[str, Any]) -> int:
        """Return how many threads to compute with: as many as a run that is continued began with."""
        threads = int(resolved["training"]["threads"])
        earlier = (claim.earlier.experiment.get("training") or {}).get("threads") if claim.earlier else None
        if not earlier or earlier == threads:
            return threads
        if self.experiment.training.threads:
            _log.warning(
                f"training.threads is {threads}; the run began with {earlier} and is continued with {earlier}"
            )
        resolved["training"]["threads"] = earlier
        return int(earlier)

    def _report_differences(self, folder: Path, identity: RunIdentity) -> None:
        """Warn that an earlier run of the same seed and fold is not continued, and why."""
        earlier = [
            record
            for record in earlier_runs(folder)
            if (record.seed, record.fold) == (self.seed, self.fold)
            and (record.results.get("overfit_batches") or 0) == self.options.overfit_batches
            and record.results.get("inner_fold") == (self.replicate.inner[0] if self.replicate.inner else None)
            # Other trials, and those of an earlier search, have other settings.
            and _trial(record.results.get("search") or {}) == _trial(self.experiment.source.search)
        ]
        if not earlier:
            return
        last = earlier[-1]
        verb = "used" if last.status == "done" else "continued"
        reasons = "; ".join(identity.differences(last)) or "it differs from this one"
        _log.warning(f"the earlier run of this seed is not {verb}: {reasons}. A new run is started")

    def _write_start(self, claim: Claim, run: Run, hooks: Hooks) -> None:
        code = self.experiment.code
        environment = describe_environment(self.device, self.options.command) | (
            {"code": local.describe_code(code)} if code else {}
        )
        environment["lifecycle_plugins"] = hooks.names
        environment["started"] = claim.results["started"]
        split = self.split.to_json()
        ids = [name for part in PARTS for name in self.split.track_ids(part)]
        split["data"] = self.data.identity.to_json(ids)
        split |= self.tracks.describe()
        claim.directory.write_start(run.toml, environment, split, code)

    def _make_run(
        self, prepared: Prepared, directory: RunDirectory, name: str, resolved: dict[str, Any]
    ) -> Run:
        return Run(
            directory=directory.path,
            name=name,
            seed=self.seed,
            settings=resolved,
            toml=toml.write(resolved),
            prepared=prepared,
            stopping=Stopping(prepared.training.early_stopping, list(self.experiment.tasks)),
        )

    def _source(self, runs: Path) -> Path | None:
        """Return the checkpoint to begin with."""
        transfer, origin = self.experiment.transfer, self.experiment.source.origin(("transfer", "from"))
        if transfer is None:
            return None
        with self.experiment.source.blaming("transfer", "from"):
            folder = self.options.sources or runs
            return find_source(transfer.source, origin.folder, folder, self.seed, self.fold)

    def _train(
        self,
        run: Run,
        trainer: Trainer,
        team: Team,
        directory: RunDirectory,
        hooks: Hooks,
        results: dict[str, Any],
    ) -> None:
        directory.write_results(results)
        hooks("run_started", run=run)
        with team.connected(self.device):
            trainer.join()
            trainer.fit()
        if (request := run.stopping.request) and not request.evaluate:
            raise RunStopped(f"stopped after epoch {len(run.history)}: {request.reason}")
        trained = trainer.seconds
        began = time.monotonic()
        trainer.load_best()
        evaluations = {part: trainer.evaluate(part) for part in PARTS if part in run.prepared.batches}
        if any(task.kind == "tags" for task in run.tasks):
            thresholds = tag_thresholds(run.tasks, evaluations.get("val"))
            results["thresholds"] = thresholds
            limits = {name: one["values"] for name, one in thresholds.items()}
            evaluations = {part: evaluation.decided(limits) for part, evaluation in evaluations.items()}
        for part, evaluation in evaluations.items():
            hooks("evaluated", run=run, part=part, evaluation=evaluation)
        directory.write_predictions(evaluations)
        if len(run.history) >= _LEARNED_AFTER and run.network.estimator is None:
            for text in constant_predictions(evaluations["train"]):
                _log.warning(text)
        settings = self.experiment.evaluation
        if not self.options.overfit_batches:
            results |= analyse_evaluations(run.prepared.tracks, self.split, evaluations, settings)
        if len(run.tasks) > 1 and len(run.history) > 1 and "val" in run.prepared.batches:
            results["selection"] = _selection(run, trainer, evaluations)
        results |= trainer.fitter.results()
        if layers := run.prepared.layer_weights:
            results["layers"] = layers
        if (dataset := results.get("protocol", {}).get("dataset")) and "test" in evaluations:
            results["protocol"]["scores"] = evaluations["test"].of_dataset(dataset).to_json(settings)
        results |= {
            "status": "done",
            "best_epoch": run.stopping.best_epoch,
            "epochs": len(run.history),
            **({"stopped": run.stopped} if run.stopped else {}),
            "monitor": {"name": run.stopping.monitor, "mode": run.stopping.mode},
            "parameters": run.network.parameter_count,
            "split": self.split.hashes,
            "metrics": {
                part: evaluation.to_json(settings, intervals=part != "train")
                for part, evaluation in evaluations.items()
            },
            "durations": {"training": trained, "evaluation": time.monotonic() - began},
        }
        hooks("run_finished", run=run, results=results)


def _pretrain(pretraining: Pretraining) -> dict[str, Any]:
    """Pretrain the backbone; return what `results.json` records of it."""
    epochs = pretraining.settings.epochs
    with contextlib.ExitStack() as stack:
        losses = pretraining.epochs()
        if multiprocessing.parent_process() is None:  # otherwise, the progress is that of all runs
            losses = stack.enter_context(Progress("Pretraining", "epochs")).watch(losses, epochs)
        return {"type": pretraining.settings.type, "losses": list(losses)}


def constant_predictions(evaluation: Evaluation) -> Iterator[str]:
    """Yield a warning for each task whose predictions on the training set are nearly the same for all tracks."""
    advice = (
        "Use a lower training.optimizer.lr, a model with normalization or more epochs, or check the labels "
        "(docs/models.md)"
    )
    for name, task in evaluation.tasks.items():
        if len(task.ids) < 2:
            continue
        if task.kind == "regression" and (of_ratings := float(np.std(task.target))):
            share = float(np.std(task.prediction)) / of_ratings
            if share < _CONSTANT:
                yield (
                    f"{name}: the predictions for the training set are nearly constant: their standard deviation is "
                    f"{100 * share:.2g} % of the ratings'. {advice}"
                )
        elif task.kind == "classification" and len(np.unique(task.target)) > 1 == len(
            np.unique(task.prediction)
        ):
            label = task.classes[int(task.prediction[0])]
            yield f"{name}: class {label!r} is predicted for every track of the training set. {advice}"


def tag_thresholds(tasks: Sequence[Task], validation: Evaluation | None) -> dict[str, Any]:
    """Return task -> ``part`` that the thresholds of its tags were chosen on, and ``values``: tag -> threshold.

    Without a validation set, ``part`` is None and every threshold is 0.5.
    """
    thresholds = validation.choose_thresholds() if validation else {}
    return {
        task.name: {
            "part": "val" if task.name in thresholds else None,
            "values": thresholds.get(task.name) or dict.fromkeys(task.classes, DEFAULT_THRESHOLD),
        }
        for task in tasks
        if task.kind == "tags"
    }


def _trial(search: Mapping[str, Any]) -> tuple[Any, Any]:
    """Return a study and the number of its trial; (None, None) without a search."""
    return search.get("study"), search.get("trial")


def _warn_of_restart(error: InputError) -> None:
    _log.warning(f"{'; '.join(error.problems)}. A new run is started")


def _selection(run: Run, trainer: Trainer, evaluations: Mapping[str, Evaluation]) -> dict[str, Any]:
    """Return what other criteria would have chosen; every checkpoint that was kept is tested."""
    tested: dict[int, Evaluation] = {}
    if "test" in run.prepared.batches:
        tested[run.stopping.best_epoch] = evaluations["test"]
        for task, epoch in run.stopping.task_epochs.items():
            if epoch not in tested:
                trainer.load_best(task)
                tested[epoch] = trainer.evaluate("test")
        trainer.load_best()
    return describe_selection(run.history, run.tasks, run.stopping, tested)
