"""An experiment's seeds and folds as one."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape

from musicemo import terminal
from musicemo.cli._analyses import print_analyses
from musicemo.cli._style import plain_table, print_table
from musicemo.cli._tables import METRIC_TITLES, print_spread
from musicemo.comparison import (
    Replicates,
    Row,
    analyse_replicates,
    compare,
    interval_text,
    mean_text,
    read_replicates,
)
from musicemo.evaluation import CLASSIFICATION, LEADING, REGRESSION, EvaluationSettings
from musicemo.running.execute import Outcome

__all__ = ["print_replicates"]

#: Metrics with a deviation that fit on a line of 80 columns beside a task's name.
_A_LINE = 3


def print_replicates(
    name: str, outcomes: Sequence[Outcome], settings: EvaluationSettings, *, overfit: bool = False
) -> None:
    """Print each metric's mean and standard deviation over seeds, and the leading one's intervals."""
    console = terminal.console()
    part = next(part for part in ("test", "val", "train") if part in outcomes[0].results["metrics"])
    if overfit:
        print_spread(console, name, part, [outcome.results["metrics"][part] for outcome in outcomes])
        return
    experiment = read_replicates([outcome.directory for outcome in outcomes], part, name)
    found = compare([experiment], metrics=(*REGRESSION, *CLASSIFICATION), settings=settings)
    console.print(f"\n[bold]{escape(name)}[/bold]: {_described(experiment)}")
    for metric in LEADING:
        leading = [row for row in (*found.rows, *found.averages) if row.metric == metric]
        if leading:
            _print_leading(console, experiment, leading)
    others: tuple[tuple[str, ...], ...] = (REGRESSION[1:], CLASSIFICATION[1:])
    for names in others:
        tasks = dict.fromkeys(row.task for row in found.rows if row.metric == names[0])
        scores = {(row.task, row.metric): row.scores[0] for row in found.rows}
        for some in (names[start : start + _A_LINE] for start in range(0, len(names) if tasks else 0, _A_LINE)):
            console.print()
            table = plain_table("task", *(METRIC_TITLES[metric] for metric in some))
            for task in tasks:
                table.add_row(task, *(mean_text(scores[task, metric]) for metric in some))
            print_table(console, table)
    print_analyses(console, analyse_replicates(experiment, found.rows, settings), part)


def _described(experiment: Replicates) -> str:
    seeds = len(experiment.seeds)
    tracks = max(len(task.ids) for task in experiment.tasks.values())
    what = f"mean ± standard deviation over {seeds} seeds" if seeds > 1 else f"seed {experiment.seeds[0]}"
    folds = f"{len(experiment.folds)} folds' predictions as one, " if experiment.folds else ""
    return f"{what}, {folds}{experiment.part} part, {tracks} tracks"


def _print_leading(console: Console, experiment: Replicates, rows: Sequence[Row]) -> None:
    seeds, folds = len(experiment.seeds) > 1, len(experiment.folds) > 1
    columns = [METRIC_TITLES[rows[0].metric]]
    columns += ["for other seeds", "other seeds and tracks"] if seeds else ["for other tracks"]
    table = plain_table("task", *columns, *(["fold by fold"] if folds else []))
    for row in rows:
        (score,) = row.scores
        cells = [row.task or f"mean of {len(row.tasks)}", mean_text(score)]
        cells += [interval_text(score.seeds_low, score.seeds_high)] if seeds else []
        cells.append(interval_text(score.low, score.high))
        if folds:
            cells.append(
                f"{statistics.mean(score.folds):.3f} ± {statistics.stdev(score.folds):.3f}".replace(
                    "nan", "n/a"
                )
            )
        table.add_row(*cells)
    console.print()
    print_table(console, table)
