"""Results of finished runs, as `musicemo run` prints them."""

from __future__ import annotations

import logging
import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from musicemo.comparison import compare, read_replicates
from musicemo.errors import InputError
from musicemo.evaluation import LEADING, METRICS, SCORES, SHORT_TITLES
from musicemo.progress import duration
from musicemo.reporting.blocks import Block, Cell, Column, Facts, Number, Table, Text
from musicemo.reporting.sections import scores
from musicemo.reporting.sections.analyses import analysis_sections
from musicemo.reporting.sections.replicates import replicate_blocks, score_number
from musicemo.reporting.sections.selection import selection_section
from musicemo.reporting.words import SETS, headline_part, number

if TYPE_CHECKING:
    from musicemo.experiment import Experiment
    from musicemo.running.execute import Outcome
    from musicemo.running.sweep import SweepResults

__all__ = ["combined_blocks", "run_blocks", "run_line"]

_log = logging.getLogger(__name__)

#: Leading metric from which on a few batches count as memorized.
_MEMORIZED = 0.95
#: Number of metrics with a deviation beside the names of an experiment and a task.
_METRICS = 3
#: Number of folders up to which a command lists each.
_LISTED = 6

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
    weights = "" if _fitted(results) else " with the best epoch's weights"
    weights = " with the mean predictions" if results.get("ensemble") else weights
    sections = [*analysis_sections(results, part), selection_section(results)]
    blocks: list[Block] = [
        Text(
            f", seed {results.get('seed', 'unknown')}{fold}: {SETS[part]}{weights} ({_timed(results, time)})",
            lead=directory.parent.name,
        ),
        *scores.metric_tables(results["metrics"][part]),
        *scores.class_tables(results["metrics"][part]),
        *scores.tag_tables(results["metrics"][part]),
        *(block for section in sections for block in section.blocks),
    ]
    if overfit:
        blocks.append(Text(_memorized(results["metrics"][part])))
    facts = [("Run directory", str(directory))]
    if (report := directory / "report.html").exists():
        facts.append(("Report", str(report)))
    if not overfit and any(directory.glob("events.out.tfevents.*")):
        facts.append(("TensorBoard", f"musicemo tensorboard {directory.parent.parent}"))
    return [*blocks, Facts(facts)]


def _memorized(metrics: Mapping[str, Mapping[str, Any]]) -> str:
    """Return whether the network memorized the tracks on which it was trained and evaluated."""
    failed = []
    for task, one in metrics.items():
        leading = next(name for name in LEADING if name in one)
        value = one[leading]["value"]
        if value is None or not value >= _MEMORIZED:
            failed.append(f"{task} ({SHORT_TITLES[leading]} {number(value)})")
    if not failed:
        return f"Memorized: the leading metric of every task is at least {_MEMORIZED}, as it should be on these tracks."
    return (
        f"Not memorized: {', '.join(failed)} below {_MEMORIZED}. A network that can learn memorizes the few tracks "
        "that it is trained on. Train for more epochs, use a higher learning rate or less dropout, or check the labels."
    )


def _fitted(results: Results) -> bool:
    """Return whether the model was fitted in one go and has no epochs."""
    return results.get("parameters") == 0


def _timed(results: Results, time: str) -> str:
    """Return the best epoch, if there are epochs, and the time."""
    if ensemble := results.get("ensemble"):
        return f"mean of {len(ensemble['members'])} runs; {time}"
    if _fitted(results):
        return time
    stopped = f", stopped: {results['stopped']['reason']}" if results.get("stopped") else ""
    return (
        f"epoch {results.get('best_epoch', 'unknown')} of {results.get('epochs', 'unknown')}{stopped}; {time}"
    )


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
            texts.append(f"{next(iter(values))} {SHORT_TITLES[metric]} {number(mean)}")
        elif values:
            texts.append(f"mean {SHORT_TITLES[metric]} of {len(values)} tasks {number(mean)}")
    return Text(f"{name}: {', '.join(texts)} ({SETS[part]}, {_timed(results, time)})")


def combined_blocks(experiments: Sequence[Experiment], results: SweepResults, *, overfit: bool) -> list[Block]:
    """Return the combined results of several seeds, folds or experiments; empty for a single run.

    Args:
        experiments: The experiments.
        results: The outcomes of their runs.
        overfit: Whether the runs are checks that the network can memorize a few batches, which have no intervals.
    """
    outcomes = [(one, some) for one in experiments if (some := results.of(one))]
    if not outcomes:
        return []
    if len({one.name for one in experiments}) > 1:
        return _variants(outcomes)
    runs = [outcome for _, some in outcomes for outcome in some]  # of one name: outer folds of a search
    if len(runs) < 2:
        return []
    experiment = experiments[0]
    part = headline_part(runs[0].results["metrics"])
    if overfit:
        metrics = [outcome.results["metrics"][part] for outcome in runs]
        return list(scores.spread_blocks(experiment.name, part, metrics))
    replicates = read_replicates([outcome.directory for outcome in runs], part, experiment.name)
    folder = runs[0].directory.parent
    facts = Facts([("Run directories", str(folder)), ("Report", f"musicemo report {folder}")])
    return [*replicate_blocks(replicates, experiment.evaluation), facts]


def _variants(experiments: Sequence[tuple[Experiment, Sequence[Outcome]]]) -> list[Block]:
    """Return a row for each experiment and task: the validation score by which to choose, and the test scores."""
    part = headline_part(experiments[0][1][0].results["metrics"])
    rows = [row for experiment, runs in experiments for row in _variant_rows(experiment, runs, part)]
    validated = part != "val" and any(row.validation is not None for row in rows)
    tables = []
    for names in (names[:_METRICS] for names in METRICS.values()):
        lines: list[list[Cell]] = [
            [
                *(row.experiment, str(row.runs), row.task),
                *([row.validation or Number(None)] if validated else []),
                *(row.metrics[name] for name in names),
            ]
            for row in rows
            if names[0] in row.metrics
        ]
        columns: list[str | Column] = ["experiment", "runs", Column("task", text=True)]
        columns += [f"validation {SHORT_TITLES[names[0]]}"] if validated else []
        if lines:
            tables.append(Table([*columns, *scores.metric_columns(names)], lines))
    text = (
        f", {SETS[part]}. Runs of one experiment are scored together, folds by their out-of-fold predictions."
    )
    folders = list(dict.fromkeys(runs[0].directory.parent for _, runs in experiments))
    facts = Facts([("Tests and intervals", f"musicemo compare {_arguments(folders)}")])
    return [
        Text(text, lead=f"{len(experiments)} experiments"),
        *tables,
        Text(_looks(len(experiments), validated, part)),
        facts,
    ]


def _arguments(folders: Sequence[Path]) -> str:
    """Return folders as arguments of a command: many of them as a pattern, if it matches no other folder."""
    parent = folders[0].parent
    start = os.path.commonprefix([path.name for path in folders])  # noqa: RUF071  # of names, not of paths
    matches = {path for path in parent.iterdir() if path.name.startswith(start)}
    if len(folders) > _LISTED and matches == set(folders):
        return f"{shlex.quote(str(parent / start))}*"
    return " ".join(shlex.quote(str(path)) for path in folders)


def _looks(count: int, validated: bool, part: str) -> str:
    """Return how the best of several experiments is chosen."""
    best = f"The best of {count} results on the {SETS[part]} is optimistic."
    return f"{best} Choose an experiment by its validation score." if validated else best


@dataclass(frozen=True)
class _Row:
    experiment: str
    runs: int
    task: str
    #: The leading metric on the validation set, the mean over runs.
    validation: Number | None
    metrics: Mapping[str, Number]


def _variant_rows(experiment: Experiment, runs: Sequence[Outcome], part: str) -> Iterator[_Row]:
    metrics = [outcome.results["metrics"] for outcome in runs]
    pooled: dict[str, dict[str, Number]] = {}
    if len(runs) > 1 and not runs[0].results.get("overfit_batches"):
        try:
            replicates = read_replicates([outcome.directory for outcome in runs], part, experiment.name)
        except InputError as error:
            _log.warning(f"{experiment.name}: its runs cannot be scored together: {error}")
        else:
            for row in compare([replicates], metrics=SCORES, settings=experiment.evaluation).rows:
                pooled.setdefault(str(row.task), {})[row.metric] = score_number(row.scores[0])
    for task, first in metrics[0].get(part, {}).items():
        names = [name for name in SCORES if name in first]
        means = {name: scores.mean([one[part][task][name]["value"] for one in metrics]) for name in names}
        validation = [one["val"][task][names[0]]["value"] for one in metrics if task in one.get("val", {})]
        yield _Row(
            experiment.name,
            len(runs),
            task,
            replace(scores.mean(validation), deviation=None) if validation else None,
            means | pooled.get(task, {}),
        )
