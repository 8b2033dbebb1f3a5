"""The lifecycle hooks: what happens when. Implement any of them in a plugin of the group `musicemo.plugins`.

A plugin is an object, a module, or a class that is made without arguments; each hook that it implements bears
``@musicemo.hookspecs.hookimpl`` and names the arguments that it wants. Keep its import light: the command line
loads every plugin to find its commands.

A hook can draw random numbers, change the working directory and put the network into evaluation mode: all this is
restored after it. It can add numbers to a record, and values that JSON has to the results; what is there already
stays as it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    import typer

    from musicemo.evaluation import Evaluation
    from musicemo.training import Run

__all__ = ["RESERVED", "Hookspecs", "hookimpl"]

#: Names in `results.json` that a plugin cannot add. Those that a run already has cannot be changed either.
RESERVED = frozenset(
    {
        *("best_epoch", "calibration", "controlled", "durations", "epochs", "error", "fingerprint", "fold"),
        *("gradients", "metrics", "monitor", "name", "overfit_batches", "parameters", "reliability"),
        *(
            "resumed_after_epoch",
            "seed",
            "selection",
            "split",
            "status",
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
    """In the order in which they are called."""

    @hookspec
    def musicemo_commands(self, app: typer.Typer) -> None:
        """Add commands to the command line's typer application."""

    @hookspec
    def musicemo_run_started(self, run: Run) -> None:
        """Open what you record to; `run.history` holds the epochs already done when a run is resumed."""

    @hookspec
    def musicemo_epoch_started(self, run: Run, epoch: int) -> None:
        """Prepare for epoch `epoch`, counted from 1."""

    @hookspec
    def musicemo_batch_finished(self, run: Run, epoch: int, batch: int, losses: dict[str, float]) -> None:
        """Look at a copy of the losses of one training batch, by task, after the optimizer's step."""

    @hookspec
    def musicemo_epoch_finished(self, run: Run, record: dict[str, float]) -> None:
        """Record the epoch: ``epoch``, ``train/loss``, ``val/<task>/<metric>``, ``learning_rate`` and so on.

        `record` is a copy. Plugins that are called later see the numbers that are added to it under new names;
        `history.jsonl` does not have them.
        """

    @hookspec
    def musicemo_evaluated(self, run: Run, part: str, evaluation: Evaluation) -> None:
        """Show a copy of the best checkpoint's predictions on a part, after training."""

    @hookspec
    def musicemo_run_finished(self, run: Run, results: dict[str, Any]) -> None:
        """Close what you record to; `results` is what `results.json` holds.

        Values under new names can be added to `results`: numbers, text, arrays, and lists and tables of them.
        """

    @hookspec
    def musicemo_run_failed(self, run: Run, error: BaseException) -> None:
        """Close what you record to after an error or an interruption."""
