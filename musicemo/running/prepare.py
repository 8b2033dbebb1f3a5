"""From an experiment to its data, and from both to what one replicate trains."""

from __future__ import annotations

import copy
import dataclasses
import json
import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.parameter import is_lazy

from musicemo.components.local import line_of, told_by_line
from musicemo.components.spec import AugmentSettings
from musicemo.contracts import Augmentation, Dataset, Estimator, FeatureRows, Weighting
from musicemo.data import (
    PARTS,
    AppliedAugmentation,
    Augmentations,
    Batch,
    Batches,
    DataIdentity,
    Features,
    Scaling,
    Split,
    Task,
    Tracks,
    collect,
    columns,
    declared_rows,
    fit_scaling,
    identify_data,
    stream_rows,
    stream_sizes,
)
from musicemo.errors import InputError, describe_error
from musicemo.experiment import Experiment
from musicemo.experiment.batches import make_batches
from musicemo.experiment.tracks import match_tasks
from musicemo.messages import collected
from musicemo.running.transfer import Transfer
from musicemo.training import (
    PRETRAININGS,
    SINGLE,
    Network,
    Objective,
    Prepared,
    Pretraining,
    Processes,
    Teacher,
    Term,
    TrainingSettings,
    TransferSettings,
    check_monitor,
    choose_device,
)
from musicemo.training.checkpoint import unreadable
from musicemo.training.optimization import parameter_rates
from musicemo.training.precision import autocast
from musicemo.training.randomness import random_state, restore_random_state, seed_everything

__all__ = ["ExperimentData", "RunOptions", "ScaledFeatures", "TrackReader", "prepare"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunOptions:
    """Options that hold for all runs of a command, whatever their experiment."""

    #: Device instead of ``training.device``.
    device: str | None = None
    #: Whether to continue the latest run of the same experiment, data, seed and fold, and to leave a finished one as
    #: it is. None does so for the variants of a matrix and the members of an ensemble; a damaged run is then started
    #: anew with a warning.
    resume: bool | None = None
    #: Number of training batches to train and evaluate on, as a check; 0 for the whole training set.
    overfit_batches: int = 0
    #: Sets to evaluate. The trials of a search do not see the test set.
    sets: Sequence[str] = PARTS
    #: Folder in which ``transfer.from`` is looked up, if it is not the one of the runs.
    sources: Path | None = None
    #: Command line that the runs record.
    command: Sequence[str] = field(default_factory=lambda: tuple(sys.argv))

    def resumes(self, experiment: Experiment) -> bool:
        """Return whether runs of an experiment are continued."""
        if self.resume is None:
            return bool(experiment.variant) or "ensemble" in experiment.source.table
        return self.resume

    @property
    def restarts(self) -> bool:
        """Whether a new run is started if the one to continue is damaged; otherwise that is an error."""
        return self.resume is None

    def choose_device(self, experiment: Experiment, rank: int = 0) -> torch.device:
        """Return the device that a process of a run trains on.

        Args:
            experiment: the experiment.
            rank: number of the process.

        Raises:
            InputError: the device is not available.
        """
        device = choose_device(self.device or experiment.training.device)
        processes = experiment.training.processes
        if processes == 1 or device.type == "cpu":
            return device
        count = torch.cuda.device_count() if device.type == "cuda" and device.index is None else 1
        if processes > count:
            raise InputError(
                experiment.source.error(
                    ("training", "processes"),
                    f"is {processes}, but {device} is {count} device{'s' * (count > 1)}, and each process needs one. "
                    "Use fewer processes, or --device cpu",
                )
            )
        return torch.device("cuda", rank)

    def run_name(self, experiment: Experiment) -> str:
        """Return the name of the folder that holds the runs of an experiment."""
        return experiment.name + ("-overfit" if self.overfit_batches else "")


class ScaledFeatures:
    """The scaled features of the last run on some tracks, for the next run with the same sets and the same scaling."""

    def __init__(self) -> None:
        self._key: tuple[Any, ...] | None = None
        self._last: tuple[Features, Scaling] | None = None
        self._messages: list[logging.LogRecord] = []

    def get(self, experiment: Experiment, tracks: Tracks, split: Split) -> tuple[Features, Scaling]:
        """Return the scaled features and their scaling; they are read if those of the last run are others.

        Raises:
            InputError: features cannot be read.
        """
        parts = tuple(split.parts[part].tobytes() for part in PARTS)
        key = experiment.training.cache, experiment.scaling.method, parts
        if self._last is None or key != self._key:
            self._last = None  # the features of two runs need not fit into memory
            with collected() as messages:
                features = _read_features(experiment, tracks, split)
                train = features.select(split.parts["train"])
                units = declared_rows(tracks, features, lambda stream: stream.units)
                scaling = fit_scaling(experiment.scaling.method, train, features.size, units)
                features.scale(scaling)
            self._key, self._last, self._messages = key, (features, scaling), messages.records
        else:
            for record in self._messages:  # which every run records
                logging.getLogger(record.name).handle(record)
        return self._last


def _read_features(experiment: Experiment, tracks: Tracks, split: Split) -> Features:
    features = Features(tracks.tracks, tracks.rows, experiment.training.cache)
    features.check(np.concatenate(list(split.parts.values())))
    return features


@dataclass(frozen=True)
class ExperimentData:
    """The tracks of an experiment, as they were read."""

    tracks: Tracks
    #: Warnings of reading the tracks, which every replicate records.
    warnings: Sequence[str]
    #: Target of ``evaluation.control``, on which the results depend too.
    control: str | None
    features: ScaledFeatures = field(default_factory=ScaledFeatures)

    @cached_property
    def identity(self) -> DataIdentity:
        """The checksums of the labels and the features."""
        return identify_data(self.tracks, [self.control] if self.control else [])


class TrackReader:
    """Reads the tracks of experiments; those of the last dataset are kept for others on the same data."""

    def __init__(self) -> None:
        self._key = ""
        self._dataset: Dataset | None = None
        #: Target of ``evaluation.control`` -> the data.
        self._read: dict[str | None, ExperimentData] = {}

    @staticmethod
    def key(experiment: Experiment) -> str:
        """Return text that is the same for experiments whose tracks are the same."""
        resolved = experiment.resolved()
        targets = {
            name: [
                {key: task.get(key) for key in ("target", "range", "classes", "weights")},
                _learned(experiment, name),
            ]
            for name, task in resolved["tasks"].items()
        }
        code = [(str(one), one.sha256) for one in experiment.code]
        return json.dumps([resolved["dataset"], resolved.get("features"), targets, code], sort_keys=True)

    def read(self, experiment: Experiment) -> ExperimentData:
        """Read the tracks of an experiment.

        Raises:
            InputError: the dataset cannot be read, or does not fit the experiment.
        """
        key, control = self.key(experiment), experiment.evaluation.control
        if key != self._key or self._dataset is None:
            self._read.clear()  # the tracks of two datasets need not fit into memory
            with collected() as messages, told_by_line():
                self._dataset = None
                dataset = experiment.build_dataset()
                tracks = collect(dataset, match_tasks(experiment, dataset), experiment.extract)
            self._key, self._dataset = key, dataset
            self._read[control] = ExperimentData(tracks, tuple(messages.texts), control)
        else:
            match_tasks(experiment, self._dataset)
            first = next(iter(self._read.values()))
            self._read.setdefault(control, replace(first, control=control))
        return self._read[control]


def _learned(experiment: Experiment, task: str) -> list[str]:
    """Return the distributions of ratings that a task learns; none if a loss is wrong, which `match_tasks` reports."""
    try:
        return [str(one) for one in experiment.distributions(task, "regression").values()]
    except InputError:
        return []


def prepare(
    experiment: Experiment,
    tracks: Tracks,
    split: Split,
    seed: int,
    device: torch.device,
    overfit_batches: int = 0,
    source: Path | None = None,
    scaled: ScaledFeatures | None = None,
    processes: Processes = SINGLE,
    sets: Sequence[str] = PARTS,
    teacher: Teacher | None = None,
) -> Prepared:
    """Build everything that one seed and one fold of an experiment is trained with; nothing is written.

    The random number generators of the process are seeded, the features are read, and a small batch is passed through
    the network and the losses, so that what would fail in training fails here.

    Args:
        experiment: the experiment.
        tracks: its tracks.
        split: their split.
        seed: seed of the initial weights and the batch order.
        device: the device to train on.
        overfit_batches: number of batches to train on, in a fixed order; 0 for the whole training set.
        source: the checkpoint to begin with, of an experiment with ``[transfer]``.
        scaled: features that several runs on the same tracks share.
        processes: the processes that train the network together.
        sets: the sets that are evaluated.
        teacher: predictions that the network learns beside the labels; see `find_teacher`.

    Raises:
        InputError: a component refuses its parameters, features cannot be read, the monitored quantity is not recorded,
            or the model or a loss fails on the batch.
    """
    blaming = experiment.source.blaming
    seed_everything(seed)
    train = split.parts["train"]
    if shares := {name: task.labeled for name, task in experiment.tasks.items() if task.labeled is not None}:
        tracks = tracks.with_share_of_labels(train, shares, seed)
        with blaming("tasks"):
            tracks.check_trainable(split.parts)
    transfer: Transfer | None = None
    scaling: Scaling | None = None
    if experiment.transfer and source:
        features = _read_features(experiment, tracks, split)
        transfer, scaling = _begin_transfer(experiment, experiment.transfer, tracks, features, split, source)
        units = declared_rows(tracks, features, lambda stream: stream.units)
        scaling = scaling or fit_scaling(
            experiment.scaling.method, features.select(train), features.size, units
        )
        features.scale(scaling)
    else:
        features, scaling = (scaled or ScaledFeatures()).get(experiment, tracks, split)

    augmentations = _build_augmentations(experiment, tracks, features, scaling)
    excerpts = _excerpts(experiment, augmentations, int(features.lengths[train].max()))

    def build_network() -> Network:
        targets = [task.outcome for task in tracks.tasks]
        sizes = stream_sizes(tracks, features)
        backbone = experiment.build_backbone(targets, sizes)
        return Network(backbone, tracks.tasks, experiment.heads, sizes, excerpts, experiment.build_sharing).to(
            device
        )

    with blaming("model"):
        _check_kinds(experiment, tracks)
        network = build_network()
        few = _examples(tracks, train)
        first = Batches(features, tracks.targets, few, batch_size=len(few), series=tracks.series)
        some = next(first.epoch()).to(device)
        initialize(network, some)
        network.fit_outputs(_ratings(tracks, train))
        check_storable(network)
    transferred: dict[str, Any] | None = None
    if transfer:
        with blaming("transfer"):
            transferred = transfer.load(network)
    in_one_go = network.estimator is not None
    if in_one_go and augmentations:
        raise InputError(
            experiment.source.error(
                ("augment",),
                f"changes the batches of a network, but {experiment.model.name!r} is fitted in one go. Remove augment",
            )
        )
    if in_one_go and experiment.training.processes > 1:
        raise InputError(
            experiment.source.error(
                ("training", "processes"),
                f"is {experiment.training.processes}, but {experiment.model.name!r} is fitted in one go, by one "
                "process",
            )
        )
    training = experiment.training
    if overfit_batches or in_one_go:
        training = _without_validation(training, fitted=in_one_go)
    if not in_one_go:
        with blaming("training", "optimizer", "rates"):
            parameter_rates(training.optimizer, network)
    with blaming("weighting"):
        weighting: Weighting = experiment.weighting.build(tasks=list(experiment.tasks))
        weighting.to(device)
        check_storable(weighting)
    if weighting.remeasures and training.accumulate > 1:
        raise InputError(
            experiment.source.error(
                ("training", "accumulate"),
                f"must be 1, not {training.accumulate}: the weighting {experiment.weighting.name!r} compares the "
                "losses of a batch before and after its optimizer step",
            )
        )
    terms = _terms(experiment, tracks, train)
    objective = Objective(tracks.tasks, terms, tracks.pairs, tracks.listeners, teacher).to(device)
    check_signs(experiment, objective, weighting)
    with blaming("dataset"):
        applied = Augmentations(augmentations, tracks.tasks, seed) if augmentations else None
        batches = make_batches(
            features, tracks, split, training, seed, overfit_batches, experiment.proportions, applied
        )
        batches = {part: one for part, one in batches.items() if part in sets}
    with blaming("training", "early_stopping", "monitor"):
        check_monitor(training.early_stopping, tracks.tasks, batches)
    pretraining: Pretraining | None = None
    if experiment.pretraining and not overfit_batches:
        with blaming("pretraining"):
            pretraining = PRETRAININGS[experiment.pretraining.type](
                experiment.pretraining,
                training,
                network,
                features,
                tracks,
                split.parts["train"],  # with the tracks whose labels are not used
                augmentations,
                seed,
                device,
            )
            pretraining.check()
    prepared = Prepared(
        tracks=tracks,
        split=split,
        features=features,
        scaling=scaling,
        network=network,
        weighting=weighting,
        objective=objective,
        batches=batches,
        training=training,
        device=device,
        rebuild=build_network,
        transfer=transferred,
        pretraining=pretraining,
        processes=processes,
        excerpts=excerpts,
    )
    if not in_one_go:  # an estimator has no shapes before it is fitted
        rehearse(experiment, network, objective, some)
        _rehearse_smallest_batch(experiment, prepared)
        if augmentations:
            _rehearse_augmentations(experiment, prepared)
    return prepared


def _build_augmentations(
    experiment: Experiment, tracks: Tracks, features: Features, scaling: Scaling
) -> list[AppliedAugmentation]:
    """Construct the augmentations.

    Raises:
        InputError: one rejects its parameters or the features, or changes what a task learns.
    """
    columns = stream_rows(tracks, features)
    bands = declared_rows(tracks, features, lambda stream: stream.bands)
    grids = {stream.name: stream.grid for stream in tracks.streams}
    feature_rows = FeatureRows(features.size, columns, bands, grids, scaling.offset, scaling.scale)
    applied = []
    for index, component in enumerate(experiment.augmentations):
        settings = component.settings
        assert isinstance(settings, AugmentSettings)
        with experiment.source.blaming("augment", index):
            augmentation = component.build(rows=feature_rows)
            check_labels(component.name, augmentation, settings.tasks, tracks.tasks)
        kept = settings.tasks or [task.name for task in tracks.tasks]
        lost = [task.name for task in tracks.tasks if task.name not in kept]
        applied.append(AppliedAugmentation(component.name, augmentation, settings.probability, lost))
    return applied


def check_labels(
    name: str, augmentation: Augmentation, kept: Sequence[str] | None, tasks: Sequence[Task]
) -> None:
    """Refuse tasks whose labels would be wrong.

    Raises:
        InputError: with the first such task.
    """
    changes = getattr(augmentation, "changes", ())
    for task in tasks:
        if kept is None and task.target in changes:
            raise InputError(
                f"{name!r} changes {task.target!r}, which task {task.name!r} learns. Set tasks to the tasks whose "
                "labels survive, and probability below 1 so that the others learn from the other examples"
            )
        excerpts = getattr(augmentation, "excerpts", None)
        if task.kind == "series" and (excerpts or not getattr(augmentation, "aligned", True)):
            raise InputError(f"{name!r} changes the time steps, and task {task.name!r} has ratings over time")
        if task.kind == "pairs" and kept is not None and task.name not in kept:
            raise InputError(f"tasks: must contain {task.name!r}, whose labels belong to pairs of tracks")


def _excerpts(
    experiment: Experiment, augmentations: Sequence[AppliedAugmentation], longest: int
) -> tuple[int, int] | None:
    """Return the length and the number of excerpts that the network is evaluated on; warn if they are whole tracks.

    Args:
        experiment: the experiment.
        augmentations: its augmentations.
        longest: time steps of the longest training track.

    Raises:
        InputError: two augmentations determine them.
    """
    declared = [
        (index, excerpts)
        for index, one in enumerate(augmentations)
        if (excerpts := getattr(one.augmentation, "excerpts", None)) is not None
    ]
    if len(declared) > 1:
        raise InputError(
            experiment.source.error(
                ("augment", declared[1][0]), "a second augmentation determines the excerpts of the evaluation"
            )
        )
    if not declared:
        return None
    index, (length, number) = declared[0]
    if longest <= length:
        _log.warning(
            experiment.source.error(
                ("augment", index),
                f"no training track is longer than the excerpts of {length} time steps (longest: {longest}), "
                "which are therefore whole tracks",
            )
        )
    return length, number


def _rehearse_augmentations(experiment: Experiment, prepared: Prepared) -> None:
    """Change the examples of the first training batch, so that what would fail in training fails here.

    Raises:
        InputError: an augmentation fails or breaks its contract.
    """
    with experiment.source.blaming("augment"):
        try:
            next(prepared.batches["train"].epoch(1, batches=slice(1)))
        except InputError:
            raise
        except Exception as error:  # a stranger's augmentation may raise anything
            failed = "; ".join(getattr(error, "__notes__", ["an augmentation fails"]))
            raise InputError(f"{failed}: {describe_error(error, where=line_of(error))}") from error


def _examples(tracks: Tracks, train: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return two training tracks, and the first pair of each task with pairs."""
    pairs = [train[judged.within(train).members[:1].ravel()] for judged in tracks.pairs.values()]
    return np.unique(np.concatenate([train[:2], *pairs]))


def _ratings(tracks: Tracks, train: NDArray[np.intp]) -> dict[str, torch.Tensor]:
    """Return task -> the ratings of the training set; of series, those of all time steps."""
    ratings = {
        name: torch.from_numpy(tracks.targets[train, place])
        for name, place in columns(tracks.tasks).items()
        if isinstance(place, int)
    }
    for name, series in tracks.series.items():
        steps = [rated.steps for index in train.tolist() if (rated := series[index]) is not None]
        ratings[name] = torch.from_numpy(np.concatenate([*steps, np.empty(0, np.float32)]))
    return ratings


def _check_kinds(experiment: Experiment, tracks: Tracks) -> None:
    """Refuse tasks of a kind that an estimator cannot be fitted to.

    Raises:
        InputError: with each such task.
    """
    estimator = experiment.model.factory
    if not (isinstance(estimator, type) and issubclass(estimator, Estimator)):
        return
    refused = [f"{task.name!r} ({task.kind})" for task in tracks.tasks if task.kind not in estimator.kinds]
    for task in tracks.tasks:
        if task.distribution:
            raise InputError(
                f"{experiment.model.name!r} is fitted in one go and predicts ratings, but the loss of {task.name!r} "
                "learns a distribution of ratings. Use a loss such as 'mse', or a model that is trained by gradients"
            )
    if refused:
        raise InputError(
            f"{experiment.model.name!r} is fitted in one go and cannot learn {', '.join(refused)} (kinds of targets: "
            f"{', '.join(estimator.kinds)}). Use a model that is trained by gradients, such as 'cnn' or 'mlp'"
        )


def _begin_transfer(
    experiment: Experiment,
    settings: TransferSettings,
    tracks: Tracks,
    features: Features,
    split: Split,
    source: Path,
) -> tuple[Transfer, Scaling | None]:
    """Read the checkpoint that the experiment begins with; return it, and its scaling if that is to be used."""
    with experiment.source.blaming("transfer", "from"):
        transfer = Transfer.read(settings, source)
        scaling = transfer.scaling(features.size)
        transfer.check_leaks(experiment.dataset.to_table(), tracks, split)
    return transfer, scaling


def _rehearse_smallest_batch(experiment: Experiment, prepared: Prepared) -> None:
    """Take the smallest batch of an epoch forward and backward; join a last batch of one track if it fails.

    Raises:
        InputError: the model or a loss fails.
    """
    batches, train = prepared.batches["train"], prepared.split.parts["train"]

    def attempt(size: int) -> None:
        tracks = prepared.tracks
        some = Batches(prepared.features, tracks.targets, train[:size], batch_size=size, series=tracks.series)
        batch = next(some.epoch())
        rehearse_training(
            experiment,
            prepared.network,
            prepared.objective,
            batch.to(prepared.device),
            prepared.training.precision,
        )

    try:
        attempt(batches.smallest)
    except InputError as error:
        if batches.smallest > 1 or len(train) < 2:
            raise
        attempt(2)
        if prepared.training.batch_size == 1 or len(batches) == 1:
            raise InputError(
                experiment.source.error(
                    ("training", "batch_size"),
                    f"is 1, but the model or a loss fails on a batch of one track. Use 2 or more ({error})",
                )
            ) from error
        batches.join_single = True
        _log.warning(
            "the model or a loss fails on a batch of one track in training, as batch normalization does. The "
            "last batch, of one track, is merged with the batch before it"
        )


def _without_validation(training: TrainingSettings, *, fitted: bool) -> TrainingSettings:
    """Train every epoch, of which an estimator has one, whatever the validation part says."""
    stopping = training.early_stopping.model_copy(
        update={"monitor": "train/loss", "mode": "min", "patience": False, "per_task": False}
    )
    more = {"epochs": 1} if fitted else {}
    return training.model_copy(update={"early_stopping": stopping, **more})


def _terms(experiment: Experiment, tracks: Tracks, train: NDArray[np.intp]) -> dict[str, list[Term]]:
    """Build each task's loss terms."""
    terms: dict[str, list[Term]] = {}
    places = columns(tracks.tasks)
    for task in tracks.tasks:
        labels = tracks.targets[train, places[task.name]] if task.width else np.empty(0)
        counts: dict[str, Any] = {"class_counts": {}, "tag_counts": {}}
        if task.kind == "tags":
            both = ((labels == value).sum(axis=0).tolist() for value in (1, 0))
            counts["tag_counts"] = dict(zip(task.classes, zip(*both, strict=True), strict=True))
        else:
            counts["class_counts"] = {
                name: int((labels == index).sum()) for index, name in enumerate(task.classes)
            }
        losses = experiment.losses[task.name]
        with experiment.source.blaming("tasks", task.name, "loss"):
            terms[task.name] = [Term(weight, loss.build(**counts), per) for weight, loss, per in losses]
    return terms


def check_signs(experiment: Experiment, objective: Objective, weighting: Weighting) -> None:
    """Refuse losses that may be negative if the weighting is defined for positive ones alone.

    Raises:
        InputError: with each such loss.
    """
    if not weighting.positive_losses:
        return
    problems = [
        experiment.source.error(
            ("tasks", name, "loss"),
            f"{type(term.loss).__name__} may be negative here, and the weighting "
            f"{experiment.weighting.name!r} requires positive losses. Use a term that is never negative, "
            'such as soft-spearman in its default form, or the weighting "constant"',
        )
        for name, terms in objective.terms.items()
        for term in terms
        if getattr(term.loss, "may_be_negative", False)
    ]
    if problems:
        raise InputError(*problems)


def check_storable(module: nn.Module) -> None:
    """Refuse a state that a checkpoint cannot give back, such as an extra state with arrays of numpy.

    Raises:
        InputError: with the name and the type of the value.
    """
    if value := unreadable(module.state_dict()):
        raise InputError(
            f"its state_dict holds {value}, which a checkpoint cannot give back: use tensors, numbers, text, lists "
            "and dictionaries"
        )


@torch.no_grad()
def initialize(network: Network, batch: Batch) -> None:
    """Give lazy layers, which take their sizes from their first batch, their parameters.

    Raises:
        InputError: the model fails.
    """
    if any(is_lazy(parameter) for parameter in (*network.parameters(), *network.buffers())):
        _embed(network, batch)


@torch.no_grad()
def rehearse(experiment: Experiment, network: Network, objective: Objective, batch: Batch) -> None:
    """Take a small batch through the network and the losses, to see that shapes are what they should be.

    Nothing of it is left: the network is a copy, and random numbers go on as before.

    Raises:
        InputError: the model or a loss fails, or padding changes an embedding.
    """
    with _without_trace(network, objective) as (copied, losses):
        with experiment.source.blaming("model"):
            embeddings = _embed(copied, batch)
            _check_padding(copied, batch, embeddings)
        joined = copied.joined(list(embeddings.values()))
        with experiment.source.blaming("sharing"):
            _check_representations(copied, joined)
        predictions = copied.predict(joined)
        _losses(experiment, losses, predictions, batch)


def rehearse_training(
    experiment: Experiment, network: Network, objective: Objective, batch: Batch, precision: str
) -> None:
    """Take a batch forward and backward as in training, in the run's precision; nothing of it is left.

    Raises:
        InputError: the model or a loss fails, or the losses of a single track are not finite.
    """
    size = len(batch.x)
    with _without_trace(network, objective) as (copied, measure):
        copied.train()
        with experiment.source.blaming("model"):
            try:
                with autocast(batch.x.device, precision):
                    _, predictions = copied(batch.x, batch.lengths)
            except Exception as error:  # a stranger's model may raise anything
                raise InputError(
                    f"fails in training, in {precision}, on a batch of shape {list(batch.x.shape)}: "
                    f"{describe_error(error, where=line_of(error))}"
                ) from error
        predictions = {name: prediction.float() for name, prediction in predictions.items()}
        losses = list(_losses(experiment, measure, predictions, batch).values())
        if size == 1 and not all(bool(loss.isfinite()) for loss in losses):
            raise InputError(experiment.source.error(("tasks",), "a loss of a single track is not finite"))
        if not (losses := [loss for loss in losses if loss.requires_grad]):
            return
        with experiment.source.blaming("model"):
            try:
                torch.stack(losses).sum().backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            except Exception as error:  # likewise
                raise InputError(
                    f"its backward pass fails in {precision}: {describe_error(error, where=line_of(error))}"
                ) from error


@contextmanager
def _without_trace(network: Network, objective: Objective) -> Iterator[tuple[Network, Objective]]:
    """Yield copies of the network and the losses, and let random numbers go on as before.

    Those that cannot be copied are yielded themselves; the network's buffers are kept and its gradients removed.
    """
    before = random_state()
    buffers = [(buffer, buffer.clone()) for buffer in network.buffers()]
    try:
        copies = copy.deepcopy((network, objective))
    except Exception:  # a stranger's model may hold what cannot be copied, such as a file
        copies = network, objective
    try:
        yield copies
    finally:
        restore_random_state(before)
        network.zero_grad()
        with torch.no_grad():
            for buffer, kept in buffers:
                buffer.copy_(kept)


def _losses(
    experiment: Experiment, objective: Objective, predictions: Mapping[str, torch.Tensor], batch: Batch
) -> dict[str, torch.Tensor]:
    with experiment.source.blaming("tasks"):
        try:
            return objective(  # type: ignore[no-any-return]  # torch's calls are untyped
                predictions, batch.targets, batch.indices, batch.series
            )
        except InputError:
            raise
        except Exception as error:  # a stranger's loss may raise anything
            raise InputError(
                f"a loss fails on {len(batch.x)} track{'s' * (len(batch.x) > 1)}: "
                f"{describe_error(error, where=line_of(error))}"
            ) from error


def _check_padding(network: Network, batch: Batch, embeddings: Mapping[str, torch.Tensor]) -> None:
    steps = batch.x.shape[1]
    longer = torch.nn.functional.pad(batch.x, (0, 0, 0, max(8, steps // 4)))
    for name, padded in _embed(network, dataclasses.replace(batch, x=longer)).items():
        embedding = embeddings[name]
        apart = float((padded[:, : embedding.shape[1]] - embedding).abs().max())
        if apart > 1e-3 * max(float(embedding.abs().max()), 1.0):
            raise InputError(
                f"padding changes its {name}, by {apart:.2g}: what lies beyond a track's length must be left out, "
                "or a track's prediction depends on the others in its batch"
            )


def _check_representations(network: Network, embedding: torch.Tensor) -> None:
    """Refuse representations that are not of the declared size, or that depend on the other rows.

    Raises:
        InputError: the sharing architecture fails, or its representations are refused.
    """
    for part, rows in network.split(embedding).items():
        if part not in network.sharing:
            continue
        sharing: Any = network.sharing[part]
        try:
            represented, alone = sharing(rows), sharing(rows[:1])
        except Exception as error:  # a stranger's architecture may raise anything
            raise InputError(
                f"fails on an {part} of shape {list(rows.shape)}: {describe_error(error, where=line_of(error))}"
            ) from error
        if not isinstance(represented, dict) or set(represented) != set(sharing.tasks):
            returned = list(represented) if isinstance(represented, dict) else type(represented).__name__
            raise InputError(
                f"returns {returned}; it must return a representation of each of {list(sharing.tasks)}"
            )
        for task in sharing.tasks:
            one = represented[task]
            expected = [*rows.shape[:-1], sharing.size]
            if not isinstance(one, torch.Tensor) or list(one.shape) != expected:
                shape = (
                    f"shape {list(one.shape)}"
                    if isinstance(one, torch.Tensor)
                    else f"type {type(one).__name__}"
                )
                raise InputError(f"the representation of {task!r} has {shape}; it must have shape {expected}")
            apart = float((one[:1] - alone[task]).abs().max())
            if apart > 1e-3 * max(float(one.abs().max()), 1.0):
                raise InputError(
                    f"the representation of {task!r} depends on other tracks of the batch, by {apart:.2g}: a track's "
                    "prediction must be the same in any batch"
                )


def _embed(network: Network, batch: Batch) -> dict[str, torch.Tensor]:
    """Return what the backbone gives to the tasks: ``embedding`` and ``sequence``, checked."""
    network.eval()
    backbone: Any = network.backbone
    embeddings = {}
    for name in network.embeddings:
        expected = [len(batch.x)]
        expected += (
            [backbone.embedding_size] if name == "embedding" else [batch.x.shape[1], backbone.sequence_size]
        )
        call = backbone if name == "embedding" else backbone.sequence
        try:
            embedding = call(network.combine(batch.x), batch.lengths)
        except Exception as error:  # a stranger's model may raise anything
            hint = "; it is called with x and lengths" if isinstance(error, TypeError) else ""
            raise InputError(
                f"fails on a batch of shape {list(batch.x.shape)}: {describe_error(error, where=line_of(error))}{hint}"
            ) from error
        if not isinstance(embedding, torch.Tensor) or list(embedding.shape) != expected:
            shape = list(embedding.shape) if isinstance(embedding, torch.Tensor) else type(embedding).__name__
            raise InputError(f"the {name} has shape {shape}, where {expected} is expected")
        if not embedding.is_floating_point():
            raise InputError(f"the {name} is of type {embedding.dtype}; it must be floating point")
        embeddings[name] = embedding.float()
    return embeddings
