"""The processes of one run beside the one that records it."""

from __future__ import annotations

import contextlib
import functools
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from musicemo import messages, workers
from musicemo.errors import MusicemoError, RunError
from musicemo.experiment import Replicate
from musicemo.experiment.tracks import split_tracks
from musicemo.running.distillation import find_teacher
from musicemo.running.prepare import RunOptions, TrackReader, prepare
from musicemo.training import SINGLE, Follower, Processes, Run, Stopping, Trainer, use_threads

__all__ = ["Team", "start_team"]

#: Seconds between two looks whether the other processes are ready, and for which the reason of a lost connection is
#: waited for.
_LOOK, _PATIENCE = 0.05, 10.0


class Team:
    """The processes that train one network, as the first of them sees the others.

    Args:
        processes: all processes.
        folder: a folder of theirs.
        outcomes: returns the outcomes of the processes that have ended.
    """

    def __init__(
        self, processes: Processes, folder: Path, outcomes: Callable[[], list[workers.Outcome[int, None]]]
    ) -> None:
        self.processes = processes
        self._folder = folder
        self._outcomes = outcomes

    @contextlib.contextmanager
    def connected(self, device: torch.device) -> Iterator[None]:
        """Wait until the others are ready, and connect to them inside.

        Raises:
            RunError: a process has failed or died.
        """
        if self.processes.size == 1:
            yield
            return
        try:
            while not all(_ready(self._folder, rank).exists() for rank in range(1, self.processes.size)):
                self._check()
                time.sleep(_LOOK)
            with self.processes.connected(self._folder, device):
                yield
        except MusicemoError:
            raise
        except RuntimeError:  # a connection that is lost
            end = time.monotonic() + _PATIENCE
            while time.monotonic() < end:
                self._check()
                time.sleep(_LOOK)
            raise

    def _check(self) -> None:
        for outcome in self._outcomes():
            if outcome.error is None:
                continue
            cause = outcome.error
            who = f"process {outcome.task + 1} of {self.processes.size}"
            if isinstance(cause, workers.WorkerDied):
                raise RunError(f"{who} of the run died: {cause}. Run with --resume to continue") from cause
            what = str(cause) if isinstance(cause, MusicemoError) else f"{type(cause).__name__}: {cause}"
            raise RunError(f"{who} of the run failed: {what}") from cause


@contextlib.contextmanager
def start_team(replicate: Replicate, options: RunOptions, source: Path | None) -> Iterator[Team]:
    """Start the other processes of a run, which end when the block is left.

    Args:
        replicate: the seed and the fold of an experiment.
        options: device and so on.
        source: the checkpoint to begin with.
    """
    size = replicate.experiment.training.processes
    if size == 1:
        yield Team(SINGLE, Path(), list)
        return
    with tempfile.TemporaryDirectory(prefix="musicemo-team-") as folder:
        work = functools.partial(
            follow,
            replicate=replicate,
            options=options,
            source=source,
            size=size,
            folder=Path(folder),
            threads=torch.get_num_threads(),
        )
        with workers.companions(work, range(1, size)) as outcomes:
            yield Team(Processes(0, size), Path(folder), outcomes)


def follow(
    rank: int,
    *,
    replicate: Replicate,
    options: RunOptions,
    source: Path | None,
    size: int,
    folder: Path,
    threads: int,
) -> None:
    """Train a network together with the process that records the run, until that one ends.

    Args:
        rank: number of this process.
        replicate: the seed and the fold of an experiment.
        options: device and so on.
        source: the checkpoint to begin with.
        size: number of processes.
        folder: a folder of theirs.
        threads: threads of this process.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process ends this one
    with use_threads(threads), messages.withheld():
        data = TrackReader().read(replicate.experiment)
        experiment = replicate.experiment.completed(data.tracks)
        device = options.choose_device(experiment, rank)
        if device.type == "cuda":
            torch.cuda.set_device(device)
        split = split_tracks(experiment, data.tracks, replicate.fold, replicate.inner)
        lesson = find_teacher(experiment, data.tracks, split)
        prepared = prepare(
            experiment,
            data.tracks,
            split,
            replicate.seed,
            device,
            options.overfit_batches,
            source,
            data.features,
            Processes(rank, size),
            options.sets,
            lesson.teacher if lesson else None,
        )
        run = Run(
            directory=folder,
            name=experiment.name,
            seed=replicate.seed,
            settings={},
            toml="",
            prepared=prepared,
            stopping=Stopping(prepared.training.early_stopping, list(experiment.tasks)),
        )
        trainer = Trainer(prepared, Follower(run))
        _ready(folder, rank).touch()
        with prepared.processes.connected(folder, device):
            trainer.join()
            trainer.fit()


def _ready(folder: Path, rank: int) -> Path:
    return folder / f"ready-{rank}"
