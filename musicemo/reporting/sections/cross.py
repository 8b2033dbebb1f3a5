"""Several datasets crossed: what is trained on which dataset, and how well it does on each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from musicemo.evaluation import LEADING, TITLES, bounds, higher_is_better
from musicemo.reporting.blocks import Block, Cell, Charts, Column, Notice, Number, Section, Table, Text
from musicemo.reporting.charts import Cells, Chart, categories
from musicemo.reporting.words import listed, number, plural

if TYPE_CHECKING:
    from musicemo.running.cross import Cell as Result
    from musicemo.running.cross import Cross

__all__ = ["cross_blocks", "cross_notices", "cross_sections"]

#: Number of datasets up to which the cells of a heat map have room for intervals.
_ROOM = 3


def cross_blocks(cross: Cross) -> list[Block]:
    """Return the datasets, the shared tasks, and a table of each task's leading metric, without charts."""
    return [*_setting(cross), *_tables(cross, leading=True), *cross_notices(cross)]


def cross_sections(cross: Cross) -> list[Section]:
    """Return the sections of the page."""
    heat = Charts([_heat(cross, task.name) for task in cross.tasks], note=_explanation(cross))
    return [
        Section("Scores", [heat, *_tables(cross, leading=True)]),
        Section("Differences", [_differences(cross)]),
        Section("Further metrics", list(_tables(cross, leading=False))),
        Section("Datasets and tasks", _setting(cross)),
        Section("Runs", [_runs(cross)]),
    ]


def _explanation(cross: Cross) -> str:
    return (
        "Rows are the training sets, columns the datasets that are tested. The number behind ± is half of the "
        f"{100 * cross.confidence:g} % interval for other tracks and seeds."
    )


def _leading(cross: Cross, task: str) -> str:
    return next(cell.metric for cell in cross.cells if cell.task == task and cell.metric in LEADING)


def _by_place(cross: Cross, task: str, metric: str) -> dict[tuple[str, str], Result]:
    return {
        (cell.trained, cell.tested): cell for cell in cross.cells if (cell.task, cell.metric) == (task, metric)
    }


def _tables(cross: Cross, *, leading: bool) -> Iterator[Table]:
    """Yield a table for each task and metric: training sets as rows, tested datasets as columns."""
    for task in cross.tasks:
        first = _leading(cross, task.name)
        metrics = dict.fromkeys(cell.metric for cell in cross.cells if cell.task == task.name)
        for metric in metrics:
            if (metric == first) == leading:
                yield _table(cross, task.name, metric)


def _table(cross: Cross, task: str, metric: str) -> Table:
    cells = _by_place(cross, task, metric)
    tested = [one.name for one in cross.datasets if any(place == one.name for _, place in cells)]
    rows: list[list[Cell]] = []
    for source in cross.trained:
        row: list[Cell] = [source.name]
        for name in tested:
            cell = cells.get((source.name, name))
            row.append("" if cell is None else _number(cell))
        if any(row[1:]):
            rows.append(row)
    direction = "higher" if higher_is_better(metric) else "lower"
    columns: list[str | Column] = ["trained on", *tested]
    return Table(
        columns, rows, f"{task}: {TITLES[metric]} ({direction} is better), tested on the column's dataset"
    )


def _number(cell: Result) -> Number:
    return Number(cell.value, cell.low, cell.high, strong=cell.in_domain)


def _heat(cross: Cross, task: str) -> Chart:
    metric = _leading(cross, task)
    cells = _by_place(cross, task, metric)
    tested = [one.name for one in cross.datasets if any(place == one.name for _, place in cells)]
    trained = [one.name for one in cross.trained if any(name == one.name for name, _ in cells)]
    values = np.full((len(trained), len(tested)), np.nan)
    texts = [["" for _ in tested] for _ in trained]
    for (row, name), (column, place) in ((a, b) for a in enumerate(trained) for b in enumerate(tested)):
        if (cell := cells.get((name, place))) is not None and cell.value is not None:
            values[row, column] = cell.value
            texts[row][column] = _text(cell, room=len(tested) <= _ROOM)
    return Chart(
        title=f"{task}, {TITLES[metric]}",
        x=categories(tested, "tested on"),
        y=categories(trained, "trained on"),
        marks=[Cells(np.clip(values, -1, 1), texts=texts, signed=bounds(metric)[0] < 0, label=TITLES[metric])],
        aspect=min(1.2, max(0.4, 0.16 * len(trained) + 0.15)),
        downwards=True,
        description=f"{TITLES[metric]} of {task} for each training set and each tested dataset",
        name=task,
    )


def _text(cell: Result, *, room: bool) -> str:
    text = number(cell.value, ".2f").replace("-", "−")
    if room and cell.low is not None and cell.high is not None:
        text += f" ± {(cell.high - cell.low) / 2:.2f}"
    return text


def _differences(cross: Cross) -> Table:
    """Return the differences of the leading metrics to the models of the tested dataset's own training set."""
    rows: list[list[Cell]] = []
    for task in cross.tasks:
        for cell in _by_place(cross, task.name, _leading(cross, task.name)).values():
            if cell.difference is not None:
                rows.append(
                    [
                        task.name,
                        cell.tested,
                        cell.trained,
                        Number(
                            cell.difference,
                            cell.difference_low,
                            cell.difference_high,
                            format="+.3f",
                            ends="+.2f",
                        ),
                        "<0.001" if cell.p is not None and cell.p < 0.001 else Number(cell.p),
                    ]
                )
    columns: list[str | Column] = [
        "task",
        Column("tested on", text=True),
        Column("trained on", text=True),
        "difference to its own training set",
        "p",
    ]
    return Table(columns, rows, "Leading metrics against models trained on the tested dataset")


def _setting(cross: Cross) -> list[Block]:
    datasets: list[list[Cell]] = [
        [one.name, one.dataset, str(one.tracks), str(one.tested), str(one.folds or "")]
        for one in cross.datasets
    ]
    tasks: list[list[Cell]] = [
        [
            "" if place else task.name,
            dataset,
            target,
            f"{task.ranges[dataset][0]:g} to {task.ranges[dataset][1]:g}"
            if dataset in task.ranges
            else task.kind,
        ]
        for task in cross.tasks
        for place, (dataset, target) in enumerate(task.targets.items())
    ]
    blocks: list[Block] = [
        Table(["experiment", Column("dataset", text=True), "tracks", "tested", "folds"], datasets, "Datasets"),
        Table(
            ["task", *(Column(name, text=True) for name in ("experiment", "target", "range"))],
            tasks,
            "Shared tasks: ratings are predicted in the range of the tested dataset",
        ),
    ]
    if cross.unshared:
        names = listed([f"{task} ({dataset})" for task, dataset in cross.unshared.items()])
        blocks.append(Text(f"Tasks of one experiment only, which are not crossed: {names}"))
    return blocks


def cross_notices(cross: Cross) -> list[Notice]:
    """Return the notes on shared music and on differences of the experiments."""
    excluded = [
        f"{source.name}: {plural(source.excluded, 'track')} left out of training, because they are tested in another "
        "dataset"
        for source in cross.trained
        if source.excluded
    ]
    return [Notice(text) for text in (*cross.notes, *excluded)]


def _runs(cross: Cross) -> Table:
    rows: list[list[Cell]] = [
        [
            one.name,
            ", ".join(one.members),
            str(len(one.runs)),
            str(one.excluded),
            one.runs[0] if one.runs else "",
        ]
        for one in cross.trained
    ]
    columns: list[str | Column] = [
        "trained on",
        Column("datasets", text=True),
        "runs",
        "tracks left out",
        Column("first run", text=True),
    ]
    return Table(columns, rows)
