"""Where runs are executed, and what becomes of an error in one: shared by sweeps and searches."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ParamSpec, TypeVar

import torch

from musicemo import workers
from musicemo.components.hooks import Hooks, load_hooks
from musicemo.contracts import Launcher, Needs
from musicemo.data import Features, Tracks
from musicemo.errors import InputError, MusicemoError, RunError, RunStopped
from musicemo.experiment import Experiment
from musicemo.experiment.launchers import build_launcher
from musicemo.experiment.tracks import read_tracks
from musicemo.running.prepare import RunOptions, TrackReader
from musicemo.runs import RunInUseError, unforeseen

__all__ = [
    "READER",
    "Failure",
    "InProgress",
    "attempt",
    "choose_launcher",
    "installed_hooks",
    "measure_memory",
    "needed",
    "to_failure",
]

_P = ParamSpec("_P")
_T = TypeVar("_T")

#: A worker process reads the tracks of runs on the same data once.
READER = TrackReader()


@dataclass(frozen=True)
class Failure:
    """A replicate that has no outcome because of an error."""

    error: MusicemoError


@dataclass(frozen=True)
class InProgress:
    """A replicate that another process is training."""

    message: str


def choose_launcher(experiments: Sequence[Experiment], name: str | None, jobs: int | None) -> Launcher:
    """Return the launcher that the experiments have in common.

    Args:
        experiments: the experiments.
        name: name of another launcher, with its default parameters.
        jobs: the parameter ``jobs``.

    Raises:
        InputError: the experiments have different launchers, or it does not take these parameters.
    """
    first = experiments[0].launcher
    if any(one.launcher.to_table() != first.to_table() for one in experiments) and name is None:
        raise InputError("the experiments have different launchers. Choose one with --launcher NAME")
    return build_launcher(first, name, jobs)


def needed(experiments: Sequence[Experiment], options: RunOptions) -> Needs:
    """Return what a run needs, apart from memory. All runs on one device that is named need the whole machine."""
    devices = {options.device or experiment.training.device for experiment in experiments}
    cuda = "cuda" in devices or ("auto" in devices and torch.cuda.is_available())
    if devices - {"auto", "cpu", "cuda"} or (
        not cuda and devices != {"cpu"} and torch.backends.mps.is_available()
    ):
        return Needs(threads=workers.cores())
    processes = _processes(experiments)
    threads = max(experiment.threads or torch.get_num_threads() for experiment in experiments)
    return Needs(threads=threads * processes, gpus=processes if cuda else 0)


def _processes(experiments: Sequence[Experiment]) -> int:
    return max(experiment.training.processes for experiment in experiments)


def measure_memory(experiments: Sequence[Experiment], launcher: Launcher) -> int:
    """Read each dataset with each table of features, and return the bytes of memory that one run needs.

    Features that are extracted on first use are extracted here, by the launcher or over all cores, and not by every
    run.
    """
    tables = {
        json.dumps(
            [one.dataset.to_table(), [table.to_table() for table in one.features]],
            sort_keys=True,
            default=str,
        ): one
        for one in experiments
    }
    memory = 0
    for experiment in tables.values():
        with contextlib.suppress(Exception, SystemExit):  # its runs report errors
            memory = max(memory, _features_memory(read_tracks(experiment, launcher), experiment.training.cache))
    return _processes(experiments) * (memory + workers.used_memory())


def _features_memory(tracks: Tracks, cache: str) -> int:
    """Return the bytes of the features that a run keeps in memory."""
    return 0 if cache == "disk" else Features(tracks.tracks, tracks.rows, cache).memory


@functools.cache
def installed_hooks() -> Hooks:
    """Return the installed lifecycle plugins of a worker process, loaded once."""
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
        return Failure(RunStopped(str(error)) if isinstance(error, RunStopped) else RunError(str(error)))
    text = "".join(traceback.format_exception(error))
    # An error that all replicates have is one file and one message.
    return Failure(unforeseen(error, folder / f"error-{hashlib.sha256(text.encode()).hexdigest()[:8]}.txt"))
