"""A limit on the duration of the training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from musicemo.hookspecs import hookimpl

if TYPE_CHECKING:
    from musicemo.training import Run

__all__ = ["TimeBudget"]


class TimeBudget:
    """Ends the training when its time is used up.

    The training ends before an epoch that would exceed the budget if it took as long as the mean epoch so far, so that
    a job of a cluster can end before its time limit. At least one epoch is trained.

    Args:
        minutes: Duration of the training, in minutes. The time before a resumption counts.
        evaluate: Whether to evaluate the best epoch so far. Otherwise the run is interrupted, to be resumed.
    """

    def __init__(self, *, minutes: Annotated[float, Field(gt=0)], evaluate: bool = True) -> None:
        self._minutes, self._evaluate = minutes, evaluate

    @hookimpl
    def musicemo_run_started(self, run: Run) -> None:
        """End a training whose time was used up before it was resumed."""
        self._check(run)

    @hookimpl
    def musicemo_epoch_finished(self, run: Run) -> None:
        """End the training if there is no time for another epoch."""
        self._check(run)

    def _check(self, run: Run) -> None:
        epochs = len(run.history)
        if epochs and run.seconds * (epochs + 1) / epochs > 60 * self._minutes:
            run.stop(f"the time budget of {self._minutes:g} minutes is used up", evaluate=self._evaluate)
