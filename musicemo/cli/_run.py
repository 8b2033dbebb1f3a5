"""``musicemo run``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from musicemo.cli._options import ExperimentFiles, Only, Overrides

if TYPE_CHECKING:
    from musicemo.pipeline import Outcome

__all__ = ["add_commands"]


def add_commands(app: typer.Typer) -> None:
    """Add ``run``."""
    app.command()(run)


def run(
    context: typer.Context,
    experiments: ExperimentFiles,
    overrides: Overrides = None,
    only: Only = None,
    runs: Annotated[Path, typer.Option(metavar="DIR", help="Where run directories are written.")] = Path(
        "runs"
    ),
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Continue the latest run of the same experiment; leave finished ones."),
    ] = False,
    device: Annotated[
        str | None, typer.Option(metavar="NAME", help="auto, cpu, cuda or mps, instead of training.device.")
    ] = None,
    overfit_batches: Annotated[
        int,
        typer.Option(min=0, metavar="N", help="Sanity check: train on N batches and see them learnt by heart."),
    ] = 0,
) -> None:
    """Train, evaluate and record experiments."""
    from musicemo.cli import _tables
    from musicemo.cli._replicates import print_replicates
    from musicemo.experiment import load_experiments
    from musicemo.pipeline import run_experiment

    loaded = [load_experiments(file, overrides or [], only or []) for file in experiments]
    for experiment in (variant for variants in loaded for variant in variants):
        outcomes: list[Outcome] = []
        for outcome in run_experiment(
            experiment, runs, context.obj, resume=resume, device=device, overfit_batches=overfit_batches
        ):
            _tables.print_outcome(outcome, overfit=bool(overfit_batches))
            outcomes.append(outcome)
        if len(outcomes) > 1:
            print_replicates(experiment.name, outcomes, experiment.evaluation, overfit=bool(overfit_batches))
