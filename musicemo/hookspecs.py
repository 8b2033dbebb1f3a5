"""Lifecycle hooks: functions of a plugin that are called at certain points of a run.

Implement them in a plugin of the group `musicemo.plugins`.

A plugin is an object, a module, or a class that is constructed without arguments. Mark each hook with
``@musicemo.hookspecs.hookimpl``, and name only the arguments that it needs. Keep the import fast, because the command
line loads every plugin to find its commands.

A hook can draw random numbers, change the working directory and put the network into evaluation mode: musicemo restores
all of it afterwards. A hook can add numbers to a record, and JSON values to the results, under new names, and it can
end the training with ``run.stop("reason")``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    from pathlib import Path

    import typer

    from musicemo.evaluation import Evaluation
    from musicemo.training import Run

__all__ = ["RESERVED", "Hookspecs", "hookimpl"]

#: Names in `results.json` that a plugin cannot add. Those that a run already has cannot be changed either.
RESERVED = frozenset(
    {
        *("best_epoch", "calibration", "controlled", "durations", "epochs", "error", "fingerprint", "fold"),
        *("gradients", "launch", "metrics", "monitor", "name", "overfit_batches", "parameters", "protocol"),
        "reliability",
        *("distillation", "ensemble", "inner_fold", "pretraining", "search"),
        *(
            "resumed_after_epoch",
            "seed",
            "selection",
            "split",
            "status",
            "stopped",
            "tasks",
            "transfer",
            "variant",
            "warnings",
        ),
    }
)

hookspec = pluggy.HookspecMarker("musicemo")
hookimpl = pluggy.HookimplMarker("musicemo")


class Hookspecs:
    """The hooks, in the order in which they are called."""

    @hookspec
    def musicemo_commands(self, app: typer.Typer) -> None:
        """Add commands to the command line's typer application."""

    @hookspec
    def musicemo_run_started(self, run: Run) -> None:
        """Open your output. If a run is resumed, `run.history` has the earlier epochs."""

    @hookspec
    def musicemo_epoch_started(self, run: Run, epoch: int) -> None:
        """Prepare for epoch `epoch`, counted from 1."""

    @hookspec
    def musicemo_batch_finished(self, run: Run, epoch: int, batch: int, losses: dict[str, float]) -> None:
        """Read a copy of the losses of one training batch, by task, after its optimizer step, if it completes one."""

    @hookspec
    def musicemo_epoch_finished(self, run: Run, record: dict[str, float]) -> None:
        """Record the epoch: ``epoch``, ``train/loss``, ``val/<task>/<metric>``, ``learning_rate`` and so on.

        `record` is a copy. Numbers that you add to it under new names are passed to the plugins that are called
        later, but are not written to `history.jsonl`.
        """

    @hookspec
    def musicemo_evaluated(self, run: Run, part: str, evaluation: Evaluation) -> None:
        """Show a copy of the best checkpoint's predictions on a set, after training."""

    @hookspec
    def musicemo_run_finished(self, run: Run, results: dict[str, Any]) -> None:
        """Close your output. `results` is the content of `results.json`.

        You can add values to `results` under new names: numbers, text, arrays, and lists and tables of them.
        """

    @hookspec
    def musicemo_ensemble_finished(self, directory: Path, results: dict[str, Any]) -> None:
        """Read the finished record of an ensemble, which has no network of its own.

        `results` is a copy of the content of the `results.json` in `directory`. None of the other hooks are called for
        an ensemble.
        """

    @hookspec
    def musicemo_run_failed(self, run: Run, error: BaseException) -> None:
        """Close your output after an error or an interruption."""

    @hookspec
    def musicemo_run_recorded(self, run: Run) -> None:
        """Read the run directory, which is complete, also after a failure: `results.json` has the final status."""
