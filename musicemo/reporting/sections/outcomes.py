"""Results of finished runs, as `musicemo run` prints them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from musicemo.comparison import read_replicates
from musicemo.evaluation import LEADING, METRICS
from musicemo.progress import duration
from musicemo.reporting.blocks import Block, Cell, Column, Facts, Table, Text
from musicemo.reporting.sections import scores
from musicemo.reporting.sections.analyses import analysis_sections
from musicemo.reporting.sections.replicates import replicate_blocks
from musicemo.reporting.sections.selection import selection_section
from musicemo.reporting.words import SETS, SHORT, headline_part, number

if TYPE_CHECKING:
    from musicemo.experiment import Experiment
    from musicemo.running.execute import Outcome
    from musicemo.running.sweep import SweepResults

__all__ = ["combined_blocks", "run_blocks", "run_line"]

#: Number of metrics with a deviation beside the names of an experiment and a task.
_METRICS = 3

Results = Mapping[str, Any]


def run_blocks(outcome: Outcome, *, overfit: bool) -> list[Block]:
    """Return a run's results on the test set, or on the set that it has.

    Args:
        outcome: The finished run.
        overfit: Whether it is a check that the network can memorize a few batches.
    """
    results, directory = outcome.results, outcome.directory
    part = headline_part(results["metrics"])
    time = "done before" if outcome.skipped else f"{results['durations']['training']:.1f} s of training"
    fold = "" if results.get("fold") is None else f", fold {results['fold']}"
    sections = [*analysis_sections(results, part), selection_section(results)]
    blocks: list[Block] = [
        Text(
            f", seed {results.get('seed', 'unknown')}{fold}: {SETS[part]} with the best epoch's weights "
            f"({_epochs(results)}; {time})",
            lead=directory.parent.name,
        ),
        *scores.metric_tables(results["metrics"][part]),
        *scores.class_tables(results["metrics"][part]),
        *scores.tag_tables(results["metrics"][part]),
        *(block for section in sections for block in section.blocks),
    ]
    if overfit:
        blocks.append(
            Text("The network was trained on these tracks only: loss and metrics should be almost perfect.")
        )
    facts = [("Run directory", str(directory))]
    if (report := directory / "report.html").exists():
        facts.append(("Report", str(report)))
    if not overfit:
        facts.append(("TensorBoard", f"musicemo tensorboard {directory.parent.parent}"))
    return [*blocks, Facts(facts)]


def _epochs(results: Results) -> str:
    stopped = f", stopped: {results['stopped']['reason']}" if results.get("stopped") else ""
    return f"epoch {results.get('best_epoch', 'unknown')} of {results.get('epochs', 'unknown')}{stopped}"


def run_line(name: str, outcome: Outcome) -> Text:
    """Return a run's leading metrics in a line, averaged over the tasks."""
    results = outcome.results
    part = headline_part(results["metrics"])
    time = "done before" if outcome.skipped else duration(results["durations"]["training"])
    texts = []
    for metric in LEADING:
        values = {task: one[metric]["value"] for task, one in results["metrics"][part].items() if metric in one}
        mean = scores.mean(list(values.values())).value
        if len(values) == 1:
            texts.append(f"{next(iter(values))} {SHORT[metric]} {number(mean)}")
        elif values:
            texts.append(f"mean {SHORT[metric]} of {len(values)} tasks {number(mean)}")
    return Text(f"{name}: {', '.join(texts)} ({SETS[part]}, {_epochs(results)}; {time})")


def combined_blocks(experiments: Sequence[Experiment], results: SweepResults, *, overfit: bool) -> list[Block]:
    """Return the combined results of several seeds, folds or experiments; empty for a single run.

    Args:
        experiments: The experiments.
        results: The outcomes of their runs.
        overfit: Whether the runs are checks that the network can memorize a few batches, which have no intervals.
    """
    if len({one.name for one in experiments}) > 1:
        variants = [(one.name, [outcome.results for outcome in results.of(one)]) for one in experiments]
        return _variants([(name, runs) for name, runs in variants if runs])
    runs = [
        outcome for one in experiments for outcome in results.of(one)
    ]  # of one name: outer folds of a search
    if len(runs) < 2:
        return []
    experiment = experiments[0]
    part = headline_part(runs[0].results["metrics"])
    if overfit:
        metrics = [outcome.results["metrics"][part] for outcome in runs]
        return list(scores.spread_blocks(experiment.name, part, metrics))
    replicates = read_replicates([outcome.directory for outcome in runs], part, experiment.name)
    return replicate_blocks(replicates, experiment.evaluation)


def _variants(experiments: Sequence[tuple[str, Sequence[Results]]]) -> list[Block]:
    """Return each metric's mean and standard deviation over the runs of each experiment, a row per task."""
    if not experiments:
        return []
    part = headline_part(experiments[0][1][0]["metrics"])
    lead = "Mean ± standard deviation over the runs of each experiment"
    return [Text(f", {SETS[part]}", lead=lead), *_variant_tables(experiments, part)]


def _variant_tables(experiments: Sequence[tuple[str, Sequence[Results]]], part: str) -> Iterator[Table]:
    for names in (names[:_METRICS] for names in METRICS.values()):
        rows: list[list[Cell]] = []
        for name, runs in experiments:
            metrics = [run["metrics"].get(part, {}) for run in runs]
            for task in (task for task in metrics[0] if names[0] in metrics[0][task]):
                means = (scores.mean([run[task][metric]["value"] for run in metrics]) for metric in names)
                rows.append([name, str(len(runs)), task, *means])
        if rows:
            columns: list[str | Column] = [
                "experiment",
                "runs",
                Column("task", text=True),
                *scores.metric_columns(names),
            ]
            yield Table(columns, rows)
