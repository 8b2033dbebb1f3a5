"""What an experiment would do, found out by assembling it, and by a few steps that are thrown away."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from musicemo.components.hooks import Hooks
from musicemo.data import PARTS, Task, Tracks, labelled
from musicemo.errors import InputError
from musicemo.experiment import Experiment
from musicemo.experiment.tracks import read_tracks, split_tracks, warn_of_shared
from musicemo.running.prepare import RunOptions, TrackReader, prepare
from musicemo.running.protocol import describe_conformity
from musicemo.running.search import check_search
from musicemo.running.transfer import find_source
from musicemo.training import Prepared, Stopping, use_threads
from musicemo.training.fitters import make_fitter
from musicemo.training.optimization import trainable
from musicemo.training.randomness import random_state, restore_random_state
from musicemo.training.scoring import Scorer

__all__ = ["Preview", "TaskPreview", "check_experiment", "check_experiments", "check_source"]

#: A batch that is only predicted, against one that is learnt from: there is no backward pass.
_PREDICTING = 1 / 3


@dataclass(frozen=True)
class TaskPreview:
    """What one task would learn."""

    task: Task
    #: Number of tracks with a label, or of judged pairs.
    labelled: int
    #: Class or tag -> tracks.
    classes: Mapping[str, int]
    #: Weight and name of each term of its loss.
    losses: Sequence[tuple[float, str]]


@dataclass(frozen=True)
class Preview:
    """What an experiment would train, with its first seed and fold."""

    experiment: Experiment
    device: str
    #: Part -> number of tracks, and of batches.
    tracks: Mapping[str, int]
    batches: Mapping[str, int]
    unlabelled: int
    tasks: Sequence[TaskPreview]
    #: Parameters that are trained: of the whole network, and of it the backbone and the sharing architecture.
    parameters: int
    backbone: int
    sharing: int
    #: Seconds that a training step takes, the median of some; None where none was taken.
    step: float | None
    #: Departures from the published protocol, which are known before the run; None without a protocol.
    departures: Sequence[str] | None = None

    @property
    def epoch(self) -> float | None:
        """Seconds that an epoch takes, about."""
        if self.step is None:
            return None
        return self.step * (self.batches["train"] + _PREDICTING * self.batches.get("val", 0))

    @property
    def run(self) -> float | None:
        """Seconds that a run takes at most, about: early stopping may end it before."""
        if self.epoch is None or self.step is None:
            return None
        pretraining = self.experiment.pretraining
        passes = pretraining.passes * self.batches["train"] * pretraining.epochs if pretraining else 0
        return self.epoch * self.experiment.training.epochs + self.step * passes


def check_source(experiment: Experiment, runs: Path, others: Collection[str] = ()) -> None:
    """Check that the run exists that an experiment's transfer begins with.

    Args:
        experiment: the experiment.
        runs: the folder of run directories.
        others: names of experiments that will be run before it.

    Raises:
        InputError: there is no such run, with the line of ``transfer.from``.
    """
    if experiment.transfer is None:
        return
    folder = experiment.source.origin(("transfer", "from")).folder
    source = Path(experiment.transfer.source)
    if {(folder / source).resolve(), (runs / source).resolve()} & {(runs / name).resolve() for name in others}:
        return
    first = experiment.replicates()[0]
    with experiment.source.blaming("transfer", "from"):
        find_source(experiment.transfer.source, folder, runs, first.seed, first.fold)


def check_experiments(
    experiments: Sequence[Experiment],
    runs: Path,
    options: RunOptions | None = None,
    *,
    steps: int = 0,
) -> list[Preview | InputError]:
    """Assemble experiments without training them, in their order: see `check_experiment` and `check_source`.

    Each dataset is read once. An experiment that is wrong has the error in its place.
    """
    reader = TrackReader()
    names = [experiment.name for experiment in experiments]
    checked: dict[int, Preview | InputError] = {}
    for index in sorted(range(len(experiments)), key=lambda index: reader.key(experiments[index])):
        experiment = experiments[index]
        try:
            preview = check_experiment(
                experiment,
                options,
                steps=steps,
                read=lambda one: reader.read(one).tracks,
            )
            check_source(experiment, runs, [name for name in names if name != experiment.name])
            checked[index] = preview
        except InputError as error:
            checked[index] = error
    return [checked[index] for index in range(len(experiments))]


def check_experiment(
    experiment: Experiment,
    options: RunOptions | None = None,
    *,
    steps: int = 0,
    read: Callable[[Experiment], Tracks] = read_tracks,
) -> Preview:
    """Assemble an experiment without training it; nothing is written.

    Args:
        experiment: the experiment.
        options: device and number of batches.
        steps: take so many optimization steps, to see how long one takes; the first, which takes longer, is one more.
        read: returns the experiment's tracks; it may keep those of the last experiment for others on the same data.

    Raises:
        InputError: what a run would say before its first epoch.
        RunError: what it would say in one of the steps.
    """
    options = options or RunOptions()
    Hooks().of(experiment.plugins, experiment.source)
    device = options.choose_device(experiment)
    tracks = read(experiment)
    experiment = experiment.completed(tracks)
    if experiment.search:
        check_search(experiment, tracks)
    first = experiment.replicates()[0]
    split = split_tracks(experiment, tracks, first.fold)
    before = random_state()
    try:
        with use_threads(experiment.threads):
            prepared = prepare(experiment, tracks, split, first.seed, device, options.overfit_batches)
            warn_of_shared(tracks, split, prepared.features)
            if experiment.teacher:
                _check_teacher(experiment, experiment.teacher, read)
            step = _time_step(prepared, steps) if steps else None
    finally:
        restore_random_state(before)
    conformity = describe_conformity(experiment, tracks, split, first.fold, None)
    network = prepared.network
    backbone, sharing = (
        sum(one.numel() for one in trainable(part)) for part in (network.backbone, network.sharing)
    )
    return Preview(
        experiment=experiment,
        device=torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        tracks={part: len(split.parts[part]) for part in PARTS},
        batches={part: len(batches) for part, batches in prepared.batches.items()},
        unlabelled=len(tracks.unlabelled),
        tasks=[_task(experiment, tracks, task.name) for task in tracks.tasks],
        parameters=network.parameter_count,
        backbone=backbone,
        sharing=sharing,
        step=step,
        departures=None if conformity is None else conformity["departures"],
    )


def _check_teacher(experiment: Experiment, teacher: Experiment, read: Callable[[Experiment], Tracks]) -> None:
    """Assemble the teacher of an experiment without fitting it."""
    with experiment.source.blaming("distillation"):
        tracks = read(teacher)
        teacher = teacher.completed(tracks)
        fold = teacher.replicates()[0].fold
        prepare(teacher, tracks, split_tracks(teacher, tracks, fold), teacher.seeds[0], torch.device("cpu"))


def _task(experiment: Experiment, tracks: Tracks, name: str) -> TaskPreview:
    task, labels = tracks.column(name)
    labeled = labels[labelled(labels)]
    if task.kind == "tags":
        counts = dict(zip(task.classes, (labeled == 1).sum(axis=0).tolist(), strict=True))
    else:
        counts = Counter(task.classes[int(label)] for label in labeled) if task.classes else {}
    count = len(tracks.pairs[name]) if task.kind == "pairs" else len(labeled)
    losses = [(weight, loss.name) for weight, loss, _ in experiment.losses[task.name]]
    return TaskPreview(task, count, {name: counts[name] for name in task.classes}, losses)


def _time_step(prepared: Prepared, steps: int) -> float | None:
    """Return the median seconds of a step without the first; None for a model that is fitted in one go."""
    mode = Stopping(prepared.training.early_stopping).mode
    seconds = make_fitter(prepared, Scorer(prepared), mode).time_steps(steps + 1)
    return statistics.median(seconds[1:] or seconds) if seconds else None
