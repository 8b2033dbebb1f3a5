"""Results as tables."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from musicemo import terminal
from musicemo.cli._analyses import print_analyses
from musicemo.cli._style import number, plain_table, print_table, with_interval
from musicemo.evaluation import CLASSIFICATION, REGRESSION, TITLES
from musicemo.progress import duration
from musicemo.running.execute import Outcome

__all__ = [
    "METRIC_TITLES",
    "print_line",
    "print_metrics",
    "print_outcome",
    "print_spread",
    "print_variants",
]

#: Each metric as a column is headed.
METRIC_TITLES = {**TITLES, "spearman": "Spearman", "pearson": "Pearson"}


#: Metrics with a deviation that fit on a line of 80 columns beside a task's name.
_A_LINE = 3


def print_outcome(outcome: Outcome, *, overfit: bool) -> None:
    """Print what one replicate reached on the test part, or on what it has of it."""
    console = terminal.console()
    results = outcome.results
    part = _part(results)
    what = {"test": "Test part", "val": "Validation part", "train": "Training part"}[part]
    when = "done before" if outcome.skipped else f"{results['durations']['training']:.1f} s of training"
    best, epochs = results.get("best_epoch", "unknown"), results.get("epochs", "unknown")
    console.print()
    console.print(
        f"[bold]{escape(outcome.directory.parent.name)}[/bold], seed {outcome.seed}"
        + ("" if outcome.fold is None else f", fold {outcome.fold}")
        + f": {what.lower()} with the best epoch's weights "
        f"(epoch {best} of {epochs}; {when})"
    )
    print_metrics(console, results["metrics"][part])
    print_analyses(console, results, part)
    if "selection" in results:
        _print_selection(console, results["selection"])
    if overfit:
        console.print("The network saw these tracks alone: loss and metrics should be close to perfect by now.")
    console.print(f"Run directory: {outcome.directory}", markup=False)
    if (report := outcome.directory / "report.html").exists():
        console.print(f"Report:        {report}", markup=False)
    if not overfit:
        console.print(f"Look at it:    musicemo tensorboard {_top(outcome.directory)}", markup=False)


def _print_selection(console: Console, selection: Mapping[str, Any]) -> None:
    """Print what each criterion would have chosen, and how far the tasks are above their own lowest loss there."""
    criteria, tasks = selection["criteria"], list(selection["metrics"])
    shown = tasks if len(tasks) <= _A_LINE + 1 else []
    own = {task: criteria[name] for task in tasks if (name := f"val/{task}/loss") in criteria}
    table = plain_table(
        "best epoch by",
        "epoch",
        *(f"{task} {METRIC_TITLES[selection['metrics'][task]]}" for task in shown),
        "loss above own best",
        title="Validation part, by what chooses the epoch",
    )
    for name in dict.fromkeys([selection["monitor"], "val/loss", "val/mean_rank", "val/mean_improvement"]):
        if name in criteria:
            found = criteria[name]["tasks"]
            excess = [one["excess"] for one in found.values() if one.get("excess") is not None]
            cost = f"{statistics.mean(excess):.1%}, at most {max(excess):.1%}" if excess else "n/a"
            values = (number(found.get(task, {}).get("val")) for task in shown)
            chosen = " (chosen)" * (name == selection["monitor"])
            table.add_row(name + chosen, str(criteria[name]["epoch"]), *values, cost)
    epochs = sorted({found["epoch"] for found in own.values()})
    values = (number(own[task]["tasks"].get(task, {}).get("val")) if task in own else "n/a" for task in shown)
    table.add_row("each task's own loss", f"{epochs[0]} to {epochs[-1]}" if epochs else "n/a", *values, "0.0%")
    console.print()
    print_table(console, table)


def print_line(name: str, outcome: Outcome) -> None:
    """Print what one replicate reached in a line."""
    results = outcome.results
    part = _part(results)
    when = "done before" if outcome.skipped else duration(results["durations"]["training"])
    scores = []
    for leading in (REGRESSION[0], CLASSIFICATION[0]):
        tasks = {task: found[leading] for task, found in results["metrics"][part].items() if leading in found}
        known = [found["value"] for found in tasks.values() if found["value"] is not None]
        if len(tasks) == 1:
            scores.append(f"{next(iter(tasks))} {METRIC_TITLES[leading]} {number(known[0] if known else None)}")
        elif tasks:
            mean = number(statistics.mean(known) if known else None)
            scores.append(f"mean {METRIC_TITLES[leading]} of {len(tasks)} tasks {mean}")
    epochs = f"epoch {results.get('best_epoch', 'unknown')} of {results.get('epochs', 'unknown')}"
    terminal.console().print(f"{name}: {', '.join(scores)} ({part} part, {epochs}; {when})", markup=False)


def print_variants(experiments: Sequence[tuple[str, Sequence[Outcome]]]) -> None:
    """Print mean and standard deviation over each experiment's replicates, a line for each task."""
    console = terminal.console()
    finished = [(name, outcomes) for name, outcomes in experiments if outcomes]
    if not finished:
        return
    part = _part(finished[0][1][0].results)
    console.print(f"\n[bold]Mean ± standard deviation over the runs of each experiment[/bold], {part} part")
    for names in (REGRESSION, CLASSIFICATION):
        table = plain_table(
            "experiment", "runs", "task", *(METRIC_TITLES[metric] for metric in names[:_A_LINE])
        )
        table.columns[2].justify = "left"
        for name, outcomes in finished:
            found = [outcome.results["metrics"].get(part, {}) for outcome in outcomes]
            for task in (task for task in found[0] if names[0] in found[0][task]):
                spread = (_spread([run[task][metric]["value"] for run in found]) for metric in names[:_A_LINE])
                table.add_row(name, str(len(outcomes)), task, *spread)
        if table.rows:
            print_table(console, table)


def print_metrics(console: Console, metrics: Mapping[str, Any]) -> None:
    """Print task -> metric -> value, with the interval of the leading metric, and each class's scores."""
    for names in (REGRESSION, CLASSIFICATION):
        tasks = {task: found for task, found in metrics.items() if names[0] in found}
        if tasks:
            print_table(console, _metrics_table(tasks, names))
    for task, found in metrics.items():
        if "per_class" in found:
            console.print()
            print_table(console, _classes_table(task, found["per_class"]))


def print_spread(console: Console, name: str, part: str, found: Sequence[Mapping[str, Any]]) -> None:
    """Print mean and standard deviation of the replicates' metrics."""
    console.print(
        f"\n[bold]{escape(name)}[/bold]: mean ± standard deviation over {len(found)} runs, {part} part"
    )
    for names in (REGRESSION, CLASSIFICATION):
        tasks = [task for task in found[0] if names[0] in found[0][task]]
        if not tasks:
            continue
        for some in (names[start : start + _A_LINE] for start in range(0, len(names), _A_LINE)):
            table = plain_table("task", *(METRIC_TITLES[metric] for metric in some))
            for task in tasks:
                table.add_row(
                    task, *(_spread([run[task][metric]["value"] for run in found]) for metric in some)
                )
            print_table(console, table)


def _part(results: Mapping[str, Any]) -> str:
    """Return the part that the results are best judged by."""
    return next(name for name in ("test", "val", "train") if name in results["metrics"])


def _metrics_table(tasks: Mapping[str, Any], names: Sequence[str]) -> Table:
    leading, *rest = names
    table = plain_table(
        "task", f"{METRIC_TITLES[leading]} [interval]", *(METRIC_TITLES[name] for name in rest), "tracks"
    )
    for task, found in tasks.items():
        values = (number(found[name]["value"]) for name in rest)
        table.add_row(task, with_interval(found[leading]), *values, str(found["tracks"]))
    return table


def _classes_table(task: str, classes: Mapping[str, Mapping[str, float]]) -> Table:
    table = plain_table(task, "precision", "recall", "F1", "support")
    for name, found in classes.items():
        scores = (number(found[score]) for score in ("precision", "recall", "f1"))
        table.add_row(name, *scores, str(found["support"]))
    return table


def _spread(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return "n/a"
    deviation = f" ± {statistics.stdev(known):.3f}" if len(known) > 1 else ""
    return f"{statistics.mean(known):.3f}{deviation}"


def _top(directory: Path) -> Path:
    return directory.parent.parent
