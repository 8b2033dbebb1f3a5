"""Early stopping: which epoch was best, and whether to wait for a better one."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from musicemo.data import Task
from musicemo.errors import InputError, nearest
from musicemo.evaluation import higher_is_better
from musicemo.training.criteria import MEAN_IMPROVEMENT, MEAN_RANK, mean_ranks
from musicemo.training.settings import EarlyStoppingSettings

__all__ = ["StopRequest", "Stopping", "check_monitor", "recorded_quantities"]


@dataclass(frozen=True)
class StopRequest:
    """Request of a lifecycle plugin to end the training."""

    reason: str
    #: Whether to evaluate the best epoch. Otherwise the run is interrupted and can be resumed.
    evaluate: bool = True


class _Best:
    """The epoch in which a quantity was best so far; a value that is not defined is never the best."""

    def __init__(self, mode: str, min_delta: float = 0.0) -> None:
        self.mode = mode
        self._min_delta = min_delta
        self.epoch = 0
        self.value = math.nan

    def update(self, epoch: int, value: float) -> bool:
        """Take in an epoch's value and tell whether it is the best so far."""
        sign = -1 if self.mode == "max" else 1
        better = self.epoch == 0
        if not better and math.isfinite(value):
            limit = sign * self.value - self._min_delta
            better = sign * value < limit or not math.isfinite(limit)
        if better:
            self.epoch, self.value = epoch, value
        return better


class Stopping:
    """Follows one quantity over the epochs, and with ``per_task`` each task's validation loss.

    The quantity is a recorded one, or the mean rank: then an epoch is better than the best so far if its rank, among
    all epochs so far and averaged over the tasks, is.

    Args:
        settings: the table ``early_stopping``.
        tasks: the tasks' names.
    """

    def __init__(self, settings: EarlyStoppingSettings, tasks: Sequence[str] = ()) -> None:
        self.monitor = settings.monitor
        more = higher_is_better(settings.monitor.rpartition("/")[2])
        self._best = _Best(
            ("max" if more else "min") if settings.mode == "auto" else settings.mode, settings.min_delta
        )
        self._patience = settings.patience or math.inf
        self._tasks = tuple(tasks)
        self._own = {task: _Best("min") for task in tasks if settings.per_task}
        #: What a schedule may follow: the monitored quantity, or what is better in just the same epochs.
        self.followed = math.nan
        #: The first request of a lifecycle plugin to end the training; it is not part of the state.
        self.request: StopRequest | None = None

    @property
    def mode(self) -> str:
        """Whether the lowest (``min``) or the highest value (``max``) is the best."""
        return self._best.mode

    @property
    def best_epoch(self) -> int:
        """The best epoch so far, counted from 1; 0 before the first."""
        return self._best.epoch

    @property
    def best_value(self) -> float:
        """The monitored quantity in the best epoch."""
        return self._best.value

    @property
    def task_epochs(self) -> dict[str, int]:
        """Task -> the epoch with its lowest validation loss so far; with ``per_task`` alone."""
        return {task: best.epoch for task, best in self._own.items() if best.epoch}

    def take(self, history: Sequence[Mapping[str, float]]) -> tuple[bool, list[str]]:
        """Take in the last epoch; tell whether it is the best so far, and which tasks' best.

        Raises:
            InputError: what is monitored is not recorded.
        """
        record, epoch = history[-1], len(history)
        if self.monitor == MEAN_RANK:
            ranks = mean_ranks(history, self._tasks)
            if self.best_epoch:  # its rank is another one among more epochs
                self._best.value = ranks[self.best_epoch - 1]
            best = self._best.update(epoch, ranks[-1])
            self.followed = float(-self.best_epoch if self.mode == "min" else self.best_epoch)
        else:
            self.followed = self.value(record)
            best = self._best.update(epoch, self.followed)
        losses = {task: record.get(f"val/{task}/loss", math.nan) for task in self._own}
        return best, [
            task for task, loss in losses.items() if math.isfinite(loss) and self._own[task].update(epoch, loss)
        ]

    def value(self, record: Mapping[str, float]) -> float:
        """Return the monitored quantity of an epoch.

        Raises:
            InputError: nothing of that name is recorded.
        """
        self.check(record)
        return record[self.monitor]

    def check(self, recorded: Collection[str]) -> None:
        """Raise an `InputError` if the monitored quantity is not among those recorded."""
        if self.monitor not in recorded:
            names = sorted(set(recorded) - {"epoch"})
            raise InputError(
                f"training.early_stopping.monitor: no quantity {self.monitor!r} is recorded"
                f"{nearest(self.monitor, names)} (recorded: {', '.join(names)})"
            )

    def stop(self, epoch: int) -> bool:
        """Return whether the training ends after an epoch, because of the patience or a request."""
        return self.request is not None or self.exhausted(epoch)

    def exhausted(self, epoch: int) -> bool:
        """Return whether the patience has run out."""
        return epoch - self.best_epoch >= self._patience

    def state_dict(self) -> dict[str, Any]:
        """Return the best epochs so far and their values."""
        task_states = {task: [best.epoch, best.value] for task, best in self._own.items()}
        return {
            "best_epoch": self.best_epoch,
            "best_value": self.best_value,
            **({"tasks": task_states} if task_states else {}),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a state."""
        self._best.epoch, self._best.value = state["best_epoch"], state["best_value"]
        for task, best in self._own.items():
            best.epoch, best.value = state["tasks"][task]


def recorded_quantities(tasks: Sequence[Task]) -> list[str]:
    """Return the names of the quantities of the validation set that every epoch records."""
    overall = ["val/loss", *([MEAN_IMPROVEMENT] if len(tasks) > 1 else [])]
    by_task = [f"val/{task.name}/{one}" for task in tasks for one in ("loss", *task.metrics)]
    return [*overall, *by_task]


def check_monitor(settings: EarlyStoppingSettings, tasks: Sequence[Task], parts: Collection[str]) -> None:
    """Check before training that a quantity of the validation part will be recorded.

    Raises:
        InputError: it will not, or there is no validation part.
    """
    monitor = settings.monitor
    if "val" not in parts and settings.per_task:
        raise InputError("per_task selects epochs by validation loss, but the validation set is empty")
    if not monitor.startswith("val/"):
        return  # the training part records what losses and weightings tell of themselves: known after an epoch
    if "val" not in parts:
        raise InputError(
            f"is {monitor!r} but the validation set is empty. Set split.validation above 0, or monitor a "
            "quantity of the training set, such as train/loss"
        )
    names = [*recorded_quantities(tasks), *([MEAN_RANK] if len(tasks) > 1 else [])]
    if monitor not in names:
        raise InputError(
            f"no quantity {monitor!r} is recorded{nearest(monitor, names)} (of val: {', '.join(names)})"
        )
