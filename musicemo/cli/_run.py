"""``musicemo run``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from musicemo.cli._options import (
    ExperimentFiles,
    Jobs,
    LauncherName,
    Only,
    Overrides,
    Resume,
    RunDevice,
    RunsFolder,
)
from musicemo.cli._output import emit, emit_blocks
from musicemo.errors import InputError, MusicemoError
from musicemo.terminal import say

if TYPE_CHECKING:
    from musicemo.components.hooks import Hooks
    from musicemo.experiment import Experiment, Replicate
    from musicemo.running.execute import Outcome
    from musicemo.running.launching import Failure, InProgress
    from musicemo.running.sweep import SweepResults
    from musicemo.runs.search import SearchRecord, StudyRecord, TrialRecord

__all__ = ["Printer", "add_commands", "train"]

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
    runs: RunsFolder = Path("runs"),
    jobs: Jobs = None,
    launcher: LauncherName = None,
    resume: Resume = None,
    device: RunDevice = None,
    overfit_batches: Annotated[
        int,
        typer.Option(min=0, metavar="N", help="Sanity check: overfit N training batches."),
    ] = 0,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="List the runs and estimate their duration from a few steps, without training."
        ),
    ] = False,
) -> None:
    """Train, evaluate and record experiments.

    Every seed, every fold and every variant of a matrix is one run, written to its own run directory.
    """
    from musicemo.experiment import load_experiments

    files = [load_experiments(file, overrides or [], only or []) for file in experiments]
    loaded = [experiment for variants in files for experiment in variants]
    if dry_run:
        preview(loaded, runs, device, overfit_batches, jobs, launcher)
        return
    train(
        loaded,
        runs,
        hooks=context.obj,
        resume=resume,
        device=device,
        overfit_batches=overfit_batches,
        jobs=jobs,
        launcher=launcher,
    ).raise_failures()


def train(
    experiments: Sequence[Experiment],
    runs: Path,
    *,
    hooks: Hooks,
    resume: bool | None,
    device: str | None,
    jobs: int | None,
    launcher: str | None,
    overfit_batches: int = 0,
) -> SweepResults:
    """Run some experiments and print the results; failures are printed, but not raised."""
    import musicemo
    from musicemo.reporting.sections import outcomes

    results = musicemo.run(
        experiments,
        runs,
        resume=resume,
        device=device,
        overfit_batches=overfit_batches,
        jobs=jobs,
        launcher=launcher,
        hooks=hooks,
        observer=Printer(overfit=bool(overfit_batches)),
        check=False,
    )
    if blocks := outcomes.combined_blocks(results.experiments, results, overfit=bool(overfit_batches)):
        emit("\n")
        emit_blocks(blocks)
    if results.skipped and resume is None and not any(one.source.search for one in results.experiments):
        everything = results.skipped == results.total
        which = f"all {results.total} runs" if everything else f"{results.skipped} of {results.total} runs"
        nothing = "Nothing to do: " if everything else ""
        emit(f"{nothing}{which} were finished before. Use --no-resume to train them again.\n")
    if results.in_progress:
        emit(f"{len(results.in_progress)} of {results.total} runs are in progress in other processes\n")
    return results


def preview(
    experiments: Sequence[Experiment],
    runs: Path,
    device: str | None,
    overfit_batches: int,
    jobs: int | None,
    launcher: str | None,
) -> None:
    """Print the runs of some experiments and an estimate of their duration, without training."""
    from musicemo.reporting.sections.preview import dry_run_blocks
    from musicemo.running.launching import choose_launcher, needed
    from musicemo.running.prepare import RunOptions
    from musicemo.running.preview import check_experiments

    options = RunOptions(device=device, overfit_batches=overfit_batches)
    tasks = sum(experiment.task_count for experiment in experiments)
    workers = choose_launcher(experiments, launcher, jobs).workers(tasks, needed(experiments, options))
    previews = []
    for checked in check_experiments(experiments, runs, options, steps=_STEPS):
        if isinstance(checked, InputError):
            raise checked
        previews.append(checked)
    emit_blocks(dry_run_blocks(previews, workers or 1))


class Printer:
    """Prints each result when it comes: in full, or in a line if several runs are trained at a time."""

    def __init__(self, *, overfit: bool = False, brief: bool = False) -> None:
        """Create a printer.

        Args:
            overfit: whether the runs are ``--overfit-batches`` checks.
            brief: whether to print a line for each result in any case.
        """
        self._overfit, self._brief = overfit, brief
        self._total = self._jobs = 1
        self._errors: set[str] = set()

    def started(self, replicates: Sequence[Replicate], jobs: int) -> None:
        self._total, self._jobs = len(replicates), jobs
        if jobs > 1:
            emit(f"{self._total} runs, {jobs} at a time\n")

    def finished(self, replicate: Replicate, result: Outcome | Failure | InProgress) -> None:
        from musicemo.reporting.sections.outcomes import run_blocks, run_line
        from musicemo.running.launching import Failure, InProgress

        if isinstance(result, InProgress):
            say("note", "bold", f"{replicate}: {result.message}")
        elif isinstance(result, Failure):
            self._report(replicate, result.error)
        elif self._jobs > 1 or self._brief:
            emit_blocks([run_line(str(replicate), result)])
        else:
            emit("\n")
            emit_blocks(run_blocks(result, overfit=self._overfit))

    def search_started(self, experiment: Experiment, record: SearchRecord, jobs: int) -> None:
        from musicemo.reporting.sections.search import started_line

        emit_blocks([started_line(experiment.name, record, jobs)])

    def trial_finished(self, trial: TrialRecord, study: StudyRecord) -> None:
        from musicemo.reporting.sections.search import trial_line

        emit_blocks([trial_line(trial, study)])

    def search_finished(self, record: SearchRecord, best: Sequence[Path]) -> None:
        from musicemo.reporting.sections.search import finished_blocks

        emit("\n")
        emit_blocks(finished_blocks(record, best))

    def _report(self, replicate: Replicate, error: MusicemoError) -> None:
        """Print an error, once if several replicates have it; that of a single one ends the command."""
        if self._total > 1 and str(error) not in self._errors:
            self._errors.add(str(error))
            for problem in getattr(error, "problems", None) or (str(error),):
                say("error", "bold red", f"{replicate}: {problem}")
