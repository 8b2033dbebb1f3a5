"""``musicemo run``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from musicemo import terminal
from musicemo.cli._options import ExperimentFiles, Only, Overrides
from musicemo.cli._output import emit, say
from musicemo.errors import InputError, MusicemoError, RunError

if TYPE_CHECKING:
    from musicemo.components.hooks import Hooks
    from musicemo.experiment import Experiment
    from musicemo.running.pipeline import Outcome
    from musicemo.running.sweep import Failure, InProgress, Replicate, Sweep

__all__ = ["add_commands"]

#: Optimization steps that a dry run measures.
_STEPS = 5


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
    jobs: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="Runs at a time, where there are several; by default a core each."
        ),
    ] = None,
    resume: Annotated[
        bool | None,
        typer.Option(
            "--resume/--no-resume",
            help="Continue the latest run of the same experiment, and leave finished ones; a matrix does by default.",
            show_default=False,
        ),
    ] = None,
    device: Annotated[
        str | None, typer.Option(metavar="NAME", help="auto, cpu, cuda or mps, instead of training.device.")
    ] = None,
    overfit_batches: Annotated[
        int,
        typer.Option(min=0, metavar="N", help="Sanity check: train on N batches and see them learnt by heart."),
    ] = 0,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Only say what would be run, and from a few steps how long it would take."
        ),
    ] = False,
) -> None:
    """Train, evaluate and record experiments.

    Every seed and fold of each, and every variant of a matrix.
    """
    from musicemo.cli import _tables
    from musicemo.cli._replicates import print_replicates
    from musicemo.experiment import load_experiments
    from musicemo.running.sweep import Sweep

    files = [load_experiments(file, overrides or [], only or []) for file in experiments]
    loaded = [experiment for variants in files for experiment in variants]
    sweep = Sweep(loaded, resume=resume, device=device, overfit_batches=overfit_batches, jobs=jobs)
    if dry_run:
        _preview(loaded, runs, device, overfit_batches, sweep.jobs)
        return
    tally = _Tally(len(sweep.replicates))
    if sweep.jobs > 1:
        _show_side_by_side(sweep, runs, context.obj, tally)
    else:
        for replicate, found in sweep.run(runs, context.obj):
            if outcome := tally.add(replicate, found):
                _tables.print_outcome(outcome, overfit=bool(overfit_batches))
    outcomes = [(experiment.name, tally.of(experiment)) for experiment in loaded]
    if len(loaded) > 1:
        _tables.print_variants(outcomes)
    elif len(outcomes[0][1]) > 1:
        print_replicates(*outcomes[0], loaded[0].evaluation, overfit=bool(overfit_batches))
    if tally.skipped and resume is None:
        emit(f"{tally.skipped} of {tally.total} runs had been made before; --no-resume makes them again\n")
    if tally.elsewhere:
        emit(f"{tally.elsewhere} of {tally.total} runs are in progress in other processes\n")
    tally.raise_failures()


def _preview(
    experiments: Sequence[Experiment], runs: Path, device: str | None, overfit_batches: int, jobs: int
) -> None:
    from musicemo.cli._preview import print_dry_run
    from musicemo.running.preview import check_experiments

    previews = []
    for checked in check_experiments(
        experiments, runs, device=device, overfit_batches=overfit_batches, steps=_STEPS
    ):
        if isinstance(checked, InputError):
            raise checked
        previews.append(checked)
    print_dry_run(terminal.console(), previews, jobs)


def _show_side_by_side(sweep: Sweep, runs: Path, hooks: Hooks, tally: _Tally) -> None:
    """Print a line for each run that is done, below them how many are, and the time left."""
    from musicemo.cli import _tables
    from musicemo.progress import Progress

    emit(f"{tally.total} runs, {sweep.jobs} at a time\n")
    with Progress("Running", "runs") as bar:
        bar.update(0, tally.total)
        for replicate, found in sweep.run(runs, hooks):
            with bar.aside():
                if outcome := tally.add(replicate, found):
                    _tables.print_line(str(replicate), outcome)
            bar.update(tally.done - tally.skipped, tally.total - tally.skipped, tally.seconds, sweep.jobs)


class _Tally:
    """The outcomes of the runs so far; each failure is reported when it is added."""

    def __init__(self, total: int) -> None:
        self.total = total
        self._outcomes: list[tuple[Replicate, Outcome]] = []
        self._failures: list[tuple[Replicate, MusicemoError]] = []
        #: How many runs other processes are training.
        self.elsewhere = 0

    @property
    def done(self) -> int:
        return len(self._outcomes) + len(self._failures) + self.elsewhere

    @property
    def skipped(self) -> int:
        """How many had been made before."""
        return sum(outcome.skipped for _, outcome in self._outcomes)

    @property
    def seconds(self) -> float | None:
        """The mean time of a run of this command; None before the first."""
        outcomes = [outcome for _, outcome in self._outcomes if not outcome.skipped]
        times = [sum(outcome.results["durations"].values()) for outcome in outcomes]
        return sum(times) / len(times) if times else None

    def of(self, experiment: Experiment) -> list[Outcome]:
        """Return an experiment's outcomes in the order of its replicates."""
        found = [outcome for replicate, outcome in self._outcomes if replicate.experiment is experiment]
        return sorted(found, key=lambda outcome: experiment.replicates().index((outcome.seed, outcome.fold)))

    def add(self, replicate: Replicate, found: Outcome | Failure | InProgress) -> Outcome | None:
        """Take in a replicate; return its outcome."""
        from musicemo.running.sweep import Failure, InProgress

        if isinstance(found, InProgress):
            self.elsewhere += 1
            say("note", "bold", f"{replicate}: {found.message}")
            return None
        if not isinstance(found, Failure):
            self._outcomes.append((replicate, found))
            return found
        told = {str(error) for _, error in self._failures}
        self._failures.append((replicate, found.error))
        if self.total > 1 and str(found.error) not in told:  # what all replicates lack is said once
            for problem in getattr(found.error, "problems", None) or (str(found.error),):
                say("error", "bold red", f"{replicate}: {problem}")
        return None

    def raise_failures(self) -> None:
        """Say that not all is done.

        Raises:
            MusicemoError: of one run, its own; of several, `InputError` if that is what each failed of.
        """
        errors = [error for _, error in self._failures]
        if self.total == 1 and errors:
            raise errors[0]
        if errors:
            kind = InputError if all(isinstance(error, InputError) for error in errors) else RunError
            names = "; ".join(str(replicate) for replicate, _ in self._failures)
            raise kind(f"{len(errors)} of {self.total} runs failed: {names}")
