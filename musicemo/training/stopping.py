"""Early stopping: which epoch was best, and whether to wait for a better one."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from musicemo.data import Task
from musicemo.errors import InputError, nearest
from musicemo.evaluation import CLASSIFICATION, REGRESSION, higher_is_better
from musicemo.training.settings import EarlyStoppingSettings

__all__ = ["Stopping", "check_monitor"]


class Stopping:
    """Follows one recorded quantity over the epochs; a value that is not defined is never the best."""

    def __init__(self, settings: EarlyStoppingSettings) -> None:
        self.monitor = settings.monitor
        more = higher_is_better(settings.monitor.rpartition("/")[2])
        self.mode = ("max" if more else "min") if settings.mode == "auto" else settings.mode
        self._patience = settings.patience or math.inf
        self._min_delta = settings.min_delta
        self.best_epoch = 0
        self.best_value = math.nan

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
                f"training.early_stopping.monitor: nothing called {self.monitor!r} is recorded"
                f"{nearest(self.monitor, names)} (recorded: {', '.join(names)})"
            )

    def update(self, epoch: int, value: float) -> bool:
        """Take in an epoch's value and tell whether it is the best so far."""
        sign = -1 if self.mode == "max" else 1
        better = self.best_epoch == 0
        if not better and math.isfinite(value):
            limit = sign * self.best_value - self._min_delta
            better = sign * value < limit or not math.isfinite(limit)
        if better:
            self.best_epoch, self.best_value = epoch, value
        return better

    def stop(self, epoch: int) -> bool:
        """Tell whether the patience has run out."""
        return epoch - self.best_epoch >= self._patience

    def state_dict(self) -> dict[str, Any]:
        """Return the best epoch so far and its value."""
        return {"best_epoch": self.best_epoch, "best_value": self.best_value}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a state."""
        self.best_epoch, self.best_value = state["best_epoch"], state["best_value"]


def check_monitor(monitor: str, tasks: Sequence[Task], parts: Collection[str]) -> None:
    """Check before training that a quantity of the validation part will be recorded.

    Raises:
        InputError: it will not, or there is no validation part.
    """
    if not monitor.startswith("val/"):
        return  # the training part records what losses and weightings tell of themselves: known after an epoch
    if "val" not in parts:
        raise InputError(
            f"is {monitor!r} but the validation part is empty; set split.validation above 0, or monitor a "
            "quantity of the training part, such as train/loss"
        )
    names = ["val/loss"]
    for task in tasks:
        metrics = REGRESSION if task.kind == "regression" else CLASSIFICATION
        names += [f"val/{task.name}/{quantity}" for quantity in ("loss", *metrics)]
    if monitor not in names:
        raise InputError(
            f"nothing called {monitor!r} is recorded{nearest(monitor, names)} (of val: {', '.join(names)})"
        )
