"""From which checkpoint a run is resumed, and whether everything that it needs is still there."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from musicemo.errors import InputError
from musicemo.files import write_atomically
from musicemo.training.checkpoint import load_checkpoint
from musicemo.training.history import check_history, count_history, read_history

__all__ = ["NO_RESUME", "Resumable", "check_resumable", "complete_best", "has_checkpoint", "resumable"]

#: The line that ends an error about a run that cannot be resumed.
NO_RESUME = "The run cannot be resumed; --no-resume trains it again, in a new run directory."

_NAMES = ("last.pt", "best.pt")
_KEYS = ("epoch", "network", "weighting", "stopping", "random", "seconds")


@dataclass(frozen=True)
class Resumable:
    """A checkpoint that a run can be continued from."""

    path: Path
    state: Mapping[str, Any]
    #: A record for each epoch up to the checkpoint's.
    history: list[dict[str, float]]
    #: Missing or damaged checkpoints of best epochs that this checkpoint can stand in for.
    lost: list[Path]


def resumable(directory: Path, problems: list[str]) -> Iterator[Resumable]:
    """Yield the last and the best checkpoint of a run directory, if training can be continued from them.

    The best one holds the whole state too, of an earlier epoch: what was trained after it is trained again.

    Args:
        directory: the run directory.
        problems: grows by a sentence for each checkpoint that cannot be used.
    """
    last, best = (directory / "checkpoints" / name for name in _NAMES)
    for path in (last, best):
        try:
            checkpoint = _read(directory, path)
        except InputError as error:
            problems += error.problems
            continue
        if not last.exists() and count_history(directory / "history.jsonl") <= checkpoint.state["epoch"]:
            problems.clear()  # the process ended between the two files of this epoch: nothing is lost
        yield checkpoint


def has_checkpoint(directory: Path) -> bool:
    """Return whether an epoch of a run was finished; otherwise it is trained from the beginning."""
    return any((directory / "checkpoints" / name).exists() for name in _NAMES)


def check_resumable(directory: Path) -> None:
    """Check that a run can be resumed, as far as that can be known without its network.

    Raises:
        InputError: with what is missing or damaged, and the option that trains anew.
    """
    problems: list[str] = []
    if next(resumable(directory, problems), None) is None:
        raise InputError(*dict.fromkeys(problems), NO_RESUME)


def complete_best(checkpoint: Resumable) -> None:
    """Write the missing checkpoints of best epochs that are the epoch of this one."""
    for path in checkpoint.lost:
        with checkpoint.path.open("rb") as source:
            write_atomically(path, lambda file: shutil.copyfileobj(source, file))


def _read(directory: Path, path: Path) -> Resumable:
    state = load_checkpoint(path)
    if missing := [key for key in _KEYS if key not in state]:
        raise InputError(f"{path}: the checkpoint has no {missing[0]!r}: it is damaged or of another version")
    epoch = state["epoch"]
    try:
        if not isinstance(epoch, int):
            raise TypeError(f"its epoch is {epoch!r}")
        best = {"best": state["stopping"]["best_epoch"]}
        best |= {
            f"best-{task}": epochs[0]
            for task, epochs in state["stopping"].get("tasks", {}).items()
            if epochs[0]
        }
    except (TypeError, KeyError, IndexError, AttributeError) as error:
        raise InputError(f"{path}: the checkpoint is damaged: {type(error).__name__}: {error}") from error
    lost = [_check_best(path, epoch, path.parent / f"{name}.pt", of) for name, of in best.items()]
    if "history" in state:  # an earlier version of musicemo kept it in the checkpoint
        history = check_history(state["history"], epoch, path)
    else:
        history = read_history(directory / "history.jsonl", epoch)
    return Resumable(path, state, history, [one for one in lost if one])


def _check_best(path: Path, epoch: int, best: Path, of: int) -> Path | None:
    """Check the checkpoint of a best epoch; return it if it is missing and `path` holds the same epoch.

    One of a later epoch than `path` is right: the process ended between the two, and the epoch is trained again.

    Raises:
        InputError: it is missing, damaged or of another epoch.
    """
    try:
        best_epoch = epoch if best == path else load_checkpoint(best).get("epoch")
    except InputError:
        if of == epoch:
            return best
        raise
    if isinstance(best_epoch, int) and (best_epoch == of or best_epoch > epoch):
        return None
    if of == epoch:
        return best
    raise InputError(f"{best}: is of epoch {best_epoch}, where {path.name} expects epoch {of}")
