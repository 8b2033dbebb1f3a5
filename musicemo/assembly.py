"""From a validated experiment to what is trained: tracks, split, features, network, losses, batches."""

from __future__ import annotations

import dataclasses
import random
import traceback
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from musicemo import _toml
from musicemo._local import line_of, told_by_line
from musicemo.contracts import Dataset, Weighting
from musicemo.data import (
    Batch,
    Batches,
    Features,
    Joined,
    Proportions,
    Scaling,
    Split,
    SplitSettings,
    Task,
    Tracks,
    collect,
    find_equal,
    fit_scaling,
    make_split,
    make_task,
    split_joined,
    strata,
)
from musicemo.errors import InputError, nearest
from musicemo.experiment import Experiment
from musicemo.training import Network, Objective, Term, TrainingSettings, check_monitor
from musicemo.transfer import Transfer

__all__ = ["Assembly", "make_batches", "read_tracks", "split_tracks", "warn_of_leaks"]

Indices = NDArray[np.intp]


@told_by_line()
def read_tracks(experiment: Experiment) -> Tracks:
    """Build the dataset, match the tasks with its targets, and read its tracks.

    Raises:
        InputError: with the line of the experiment file where there is one.
    """
    source = experiment.source
    dataset = experiment.build_dataset()
    problems: list[str] = []
    tasks: list[Task] = []
    for name, settings in experiment.tasks.items():
        try:
            with source.blaming("tasks", name):
                if isinstance(dataset, Joined):
                    dataset.check(name)
                    settings = settings.under(name)
                tasks.append(make_task(name, settings, dataset.targets))
                _check_losses(experiment, tasks[-1])
        except InputError as error:
            problems += error.problems
    for key, split in experiment.splits.values():
        if split.stratify is not None:
            problems += _unknown(experiment, dataset, (*key, "stratify"), split.stratify)
    if (control := experiment.evaluation.control) is not None:
        place = ("evaluation", "control")
        kinds = {target.name: target.kind for target in dataset.targets} | {
            task.name: task.kind for task in tasks
        }
        problems += _unknown(experiment, dataset, place, control)
        if kinds.get(control) == "regression":
            problems.append(source.error(place, f"{control!r} is a regression; a classification is needed"))
    if problems:
        raise InputError(*problems)
    return collect(dataset, tasks)


def _unknown(experiment: Experiment, dataset: Dataset, key: _toml.Key, name: str) -> list[str]:
    """Return what is wrong with the name of a task or of another target of the dataset."""
    others = [target.name for target in dataset.targets if target.name not in experiment.tasks]
    if name in experiment.tasks or name in others:
        return []
    listed = ", ".join(experiment.tasks) + (f"; other targets: {', '.join(others)}" if others else "")
    text = f"{name!r} is not a task{nearest(name, [*experiment.tasks, *others])} (tasks: {listed})"
    return [experiment.source.error(key, text)]


def _check_losses(experiment: Experiment, task: Task) -> None:
    for _, loss in experiment.losses[task.name]:
        kind = getattr(loss.factory, "kind", task.kind)
        if kind != task.kind:
            raise InputError(f"loss {loss.name!r} is for {kind}, and {task.target!r} is a {task.kind} target")


def split_tracks(experiment: Experiment, tracks: Tracks, fold: int | None = None) -> Split:
    """Split the tracks as the experiment says.

    Raises:
        InputError: the split cannot be made, or a class has no track to train on.
    """
    splits = experiment.splits

    def split_one(name: str, indices: Indices) -> Split:
        key, settings = splits[name]
        with experiment.source.blaming(*key):
            return _split_some(settings, tracks, indices, fold)

    if tracks.sources:
        grouped = {name: settings.by_groups for name, (_, settings) in splits.items()}
        split = split_joined(split_one, grouped, tracks)
    else:
        split = split_one("", np.arange(len(tracks)))
    tracks.check_trainable(split.parts)
    return split


def _split_some(settings: SplitSettings, tracks: Tracks, indices: Indices, fold: int | None) -> Split:
    """Split some tracks, stratified by the target that is asked for, or by the first task that has a label."""
    names = [settings.stratify] if settings.stratify else []
    columns = (tracks.column(name) for name in (*names, *(task.name for task in tracks.tasks)))
    task, labels = next(
        (task, values[indices]) for task, values in columns if np.isfinite(values[indices]).any()
    )
    some = [tracks.tracks[index] for index in indices]
    return make_split(
        settings,
        [track.id for track in some],
        strata(labels, regression=task.kind == "regression", bins=settings.bins),
        [track.group for track in some],
        [track.part for track in some],
        fold,
    )


class Assembly:
    """Everything that one seed and one fold of an experiment is trained with; nothing is written yet.

    Args:
        experiment: the experiment.
        tracks: its tracks.
        split: their split.
        seed: decides the initial weights and the order of the batches.
        device: where to train.
        overfit_batches: train on this many batches alone, in a fixed order; 0 for the whole training part.
        source: the checkpoint to begin with, of an experiment with ``[transfer]``.

    Raises:
        InputError: a component refuses its parameters, features that cannot be read, a monitor of nothing.
    """

    def __init__(
        self,
        experiment: Experiment,
        tracks: Tracks,
        split: Split,
        seed: int,
        device: torch.device,
        overfit_batches: int = 0,
        source: Path | None = None,
    ) -> None:
        blaming = experiment.source.blaming
        seed_everything(seed)
        self.training = experiment.training
        self.features = Features(tracks.tracks, tracks.rows, self.training.cache)
        self.features.check(np.concatenate(list(split.parts.values())))
        train = split.parts["train"]
        transfer: Transfer | None = None
        #: What to warn of: test tracks that the source was trained on.
        self.leak = ""
        scaling: Scaling | None = None
        if experiment.transfer and source:
            with blaming("transfer", "from"):
                transfer = Transfer.read(experiment.transfer, source)
                scaling = transfer.scaling(self.features.size)
                self.leak = transfer.check_leaks(experiment.dataset.to_table(), split)
        self.scaling: Scaling = scaling or fit_scaling(
            experiment.scaling.method, self.features.select(train), self.features.size
        )
        self.features.scale(self.scaling)
        with blaming("model"):
            targets = [task.outcome for task in tracks.tasks]
            backbone = experiment.model.build(input_size=self.features.size, targets=targets)
            self.network = Network(backbone, tracks.tasks, experiment.heads).to(device)
        #: What was taken from an earlier run: see `Transfer.load`.
        self.transfer: dict[str, Any] | None = None
        if transfer:
            with blaming("transfer"):
                self.transfer = transfer.load(self.network)
        if overfit_batches or self.network.estimator:
            self.training = _without_validation(self.training, fitted=self.network.estimator is not None)
        with blaming("weighting"):
            self.weighting: Weighting = experiment.weighting.build(tasks=list(experiment.tasks))
            self.weighting.to(device)
        self.objective = Objective(tracks.tasks, _terms(experiment, tracks, train)).to(device)
        self._check_signs(experiment)
        with blaming("dataset"):
            self.batches = make_batches(
                self.features, tracks, split, self.training, seed, overfit_batches, experiment.proportions
            )
        with blaming("training", "early_stopping", "monitor"):
            check_monitor(self.training.early_stopping, tracks.tasks, self.batches)
        with torch.no_grad():
            self._rehearse(experiment, tracks, train[:2], device)

    def _check_signs(self, experiment: Experiment) -> None:
        """Refuse losses that may be negative if the weighting is defined for positive ones alone."""
        if not self.weighting.positive_losses:
            return
        problems = [
            experiment.source.error(
                ("tasks", name, "loss"),
                f"{type(term.loss).__name__} may be negative here, and the weighting "
                f"{experiment.weighting.name!r} is defined for positive losses alone; use a term that is never "
                'negative (such as soft-spearman in its default form), or the weighting "constant"',
            )
            for name, terms in self.objective.terms.items()
            for term in terms
            if getattr(term.loss, "may_be_negative", False)
        ]
        if problems:
            raise InputError(*problems)

    def _rehearse(self, experiment: Experiment, tracks: Tracks, indices: Indices, device: torch.device) -> None:
        """Take two tracks through the network and the losses, to see that shapes are what they should be."""
        if self.network.estimator:
            return  # it has no shapes yet
        batch = next(Batches(self.features, tracks.targets, indices, len(indices)).epoch()).to(device)
        with experiment.source.blaming("model"):
            embedding = self._embedding(batch)
            self._check_padding(batch, embedding)
        predictions = {name: head(embedding) for name, head in self.network.heads.items()}
        with experiment.source.blaming("tasks"):
            try:
                self.objective(predictions, batch.targets)
            except InputError:
                raise
            except Exception as error:  # a stranger's loss may raise anything
                raise InputError(f"a loss fails on {len(indices)} tracks: {_described(error)}") from error

    def _check_padding(self, batch: Batch, embedding: torch.Tensor) -> None:
        longer = torch.nn.functional.pad(batch.x, (0, 0, 0, max(8, batch.x.shape[1] // 4)))
        found = self._embedding(dataclasses.replace(batch, x=longer))
        apart = float((found - embedding).abs().max())
        if apart > 1e-3 * max(float(embedding.abs().max()), 1.0):
            raise InputError(
                f"padding changes its embedding, by {apart:.2g}: what lies beyond a track's length must be left out, "
                "or a track's prediction depends on the others in its batch"
            )

    def _embedding(self, batch: Batch) -> torch.Tensor:
        network = self.network.eval()
        expected = [len(batch.x), network.backbone.embedding_size]
        try:
            embedding = network.backbone(batch.x, batch.lengths)
        except Exception as error:  # a stranger's model may raise anything
            raise InputError(f"fails on a batch of shape {list(batch.x.shape)}: {_described(error)}") from error
        if not isinstance(embedding, torch.Tensor) or list(embedding.shape) != expected:
            found = list(embedding.shape) if isinstance(embedding, torch.Tensor) else type(embedding).__name__
            raise InputError(f"the embedding has shape {found}, where {expected} is expected")
        return embedding


def warn_of_leaks(tracks: Tracks, split: Split, features: Features) -> None:
    """Say which clips of joined datasets stand on several sides of the split: one clip may be in both."""
    if tracks.sources:
        for leak in find_equal(tracks.tracks, split, features):
            warnings.warn(f"suspected leak: {leak}", stacklevel=2)


def make_batches(
    features: Features,
    tracks: Tracks,
    split: Split,
    training: TrainingSettings,
    seed: int,
    overfit_batches: int = 0,
    proportions: Mapping[str, float] | None = None,
) -> dict[str, Batches]:
    """Return the batches of every part that has tracks; of some training batches alone, if that is asked for.

    Args:
        features: every track's features.
        tracks: the tracks.
        split: their parts.
        training: size and kind of batches.
        seed: decides the order of the training part.
        overfit_batches: how many of the training batches to have alone; 0 for all of every part.
        proportions: dataset -> its part of what is drawn to train on; without any, each track comes once an epoch.
    """
    size, bucket = training.batch_size, training.bucket
    targets, parts = tracks.targets, split.parts
    if overfit_batches:
        order = np.random.default_rng(seed).permutation(parts["train"])
        some = order[: size * overfit_batches]
        return {"train": Batches(features, targets, some, size)}
    drawn = _proportions(tracks, parts["train"], proportions) if proportions else None
    batches = {
        "train": Batches(features, targets, parts["train"], size, seed=seed, bucket=bucket, proportions=drawn)
    }
    for part in ("val", "test"):
        if len(parts[part]):
            batches[part] = Batches(features, targets, parts[part], size, bucket=True)
    return batches


def _proportions(tracks: Tracks, train: Indices, proportions: Mapping[str, float]) -> Proportions:
    own = {name: np.intersect1d(indices, train) for name, indices in tracks.sources.items()}
    for name in proportions:
        if not len(own.get(name, ())):
            raise InputError(f"{name!r} has a proportion and no track in the training part")
    return Proportions([own[name] for name in proportions], list(proportions.values()))


def _without_validation(training: TrainingSettings, *, fitted: bool) -> TrainingSettings:
    """Train every epoch, of which an estimator has one, whatever the validation part says."""
    stopping = training.early_stopping.model_copy(
        update={"monitor": "train/loss", "mode": "min", "patience": False, "per_task": False}
    )
    more = {"epochs": 1} if fitted else {}
    return training.model_copy(update={"early_stopping": stopping, **more})


def _terms(experiment: Experiment, tracks: Tracks, train: Indices) -> dict[str, list[Term]]:
    """Build each task's loss terms."""
    found: dict[str, list[Term]] = {}
    for column, task in enumerate(tracks.tasks):
        labels = tracks.targets[train, column]
        counts = {name: int((labels == index).sum()) for index, name in enumerate(task.classes)}
        chosen = experiment.losses[task.name]
        with experiment.source.blaming("tasks", task.name, "loss"):
            found[task.name] = [Term(weight, loss.build(class_counts=counts)) for weight, loss in chosen]
    return found


def _described(error: Exception) -> str:
    frame = traceback.extract_tb(error.__traceback__)[-1]
    where = line_of(error) or f"{frame.filename}:{frame.lineno}"
    return f"{type(error).__name__}: {error} ({where})"


def seed_everything(seed: int) -> None:
    """Seed every random number generator that a component may use."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002  # plugins may use it
    torch.manual_seed(seed)
