"""The page of several experiments beside one another."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from musicemo import __version__
from musicemo.comparison import Comparison, Row, Score, notes, tables, verdicts
from musicemo.evaluation import LEADING, TITLES, finite
from musicemo.progress import duration
from musicemo.reporting.blocks import Block, Cell, Charts, Notice, Page, Section, Table, Text
from musicemo.reporting.charts import Axis, Chart, Intervals, Line, Mark, Rule, categories, spanning
from musicemo.reporting.charts.chart import COLOURS
from musicemo.reporting.sections import scores
from musicemo.reporting.words import PARTS, plural
from musicemo.runs import RunRecord

__all__ = ["comparison_page"]

_IGNORED = ("name", "description", "seed", "seeds", "split.fold")
"""Keys in which experiments differ that are to be compared."""

_LONG = 60


def comparison_page(comparison: Comparison, told: Sequence[Notice] = ()) -> Page:
    """Return the page of a comparison.

    Args:
        comparison: see `musicemo.comparison.compare`.
        told: what must not be overlooked.
    """
    experiments = comparison.experiments
    runs = {one.name: one.records for one in experiments}
    sections = [
        Section("Verdict", _verdict(comparison)),
        Section("Scores", list(_scores(comparison))),
        Section("Differences", _differences(comparison)),
        Section("Training", _training(runs)),
        Section("What differs", _settings(runs)),
        Section("Experiments", [_experiments(runs)]),
    ]
    tracks = max((len(task.ids) for one in experiments for task in one.tasks.values()), default=0)
    facts = [
        ("experiments", str(len(experiments))),
        ("runs", str(sum(len(found) for found in runs.values()))),
        ("part", PARTS[comparison.part]),
        ("tracks", str(tracks)),
        ("confidence", f"{comparison.settings.confidence:.0%}"),
    ]
    return Page(
        kind="comparison",
        title=" · ".join(one.name for one in experiments) if len(experiments) < 4 else "Comparison",
        description="" if len(experiments) < 4 else ", ".join(one.name for one in experiments),
        status="",
        facts=facts,
        notices=list(told),
        sections=[section for section in sections if section.blocks],
        footer=[f"Made by musicemo {__version__}"],
    )


def _verdict(comparison: Comparison) -> list[Block]:
    said = [Notice(text) for text in verdicts(comparison)]
    return [*said, *(Text(text) for text in notes(comparison))]


def _scores(comparison: Comparison) -> Iterator[Block]:
    charts = []
    colours = {one.name: number for number, one in enumerate(comparison.experiments)}
    for row in (*comparison.rows, *comparison.averages):
        if row.metric in LEADING:
            rows = {one.experiment: {row.metric: _ends(one)} for one in row.scores}
            each = {
                one.experiment: one.values if len(one.values) > 1 else one.folds
                for one in row.scores
                if len(one.values) > 1 or len(one.folds) > 1
            }
            charts.append(
                scores.forest(
                    rows, row.metric, each, title=_title(row), notes=[TITLES[row.metric]], colours=colours
                )
            )
    some = any(len(score.values) > 1 or score.folds for row in comparison.rows for score in row.scores)
    yield Charts(charts, note="Small dots are single seeds, or folds of one seed." if some else "")
    for title, columns, lines in tables(comparison):
        by_task = columns[0] == "task"
        cells = [
            [_cell(text, strong=by_task and place == 2) for place, text in enumerate(line)] for line in lines
        ]
        yield Table(columns, cells, title, texts=frozenset({0, 1} if by_task else {0}))


def _title(row: Row) -> str:
    return row.task or f"mean of {len(row.tasks)} tasks"


def _ends(score: Score) -> dict[str, float | None]:
    return {"value": finite(score.mean), "low": finite(score.low), "high": finite(score.high)}


def _cell(text: str, *, strong: bool) -> str | Cell:
    """Put an interval below its value, and write minus signs where there are numbers."""
    value, bracket, rest = text.partition("[")
    if not bracket or not rest.endswith("]"):
        return text
    return Cell(value.strip().replace("-", "−"), f"{bracket}{rest}".replace("-", "−"), strong)


def _differences(comparison: Comparison) -> list[Block]:
    """Return each experiment's differences from the baselines, and its relative improvement."""
    charts = []
    for number, one in enumerate(comparison.experiments):
        for metric in LEADING:
            rows = [
                (_title(row), score.difference)
                for row in (*comparison.rows, *comparison.averages)
                for score in row.scores
                if row.metric == metric and score.experiment == one.name and score.difference
            ]
            if rows:
                against = dict.fromkeys(difference.baseline for _, difference in rows)
                numbers = [[d.value, d.low, d.high] for _, d in rows]
                title = one.name
                note = f"{TITLES[metric]} less that of {', '.join(against)}"
                charts.append(
                    _around_zero(title, note, [name for name, _ in rows], numbers, [number] * len(rows))
                )
    order = [one.name for one in comparison.experiments]
    improvements = [one for one in comparison.improvements if math.isfinite(one.value)]
    if improvements:
        numbers = [[100 * one.value, 100 * one.low, 100 * one.high] for one in improvements]
        names = [one.experiment for one in improvements]
        note = "Δm in percent, mean over the tasks"
        colours = [order.index(name) for name in names]
        charts.append(_around_zero("relative improvement", note, names, numbers, colours))
    return [Charts(charts)] if charts else []


def _around_zero(
    title: str, note: str, names: Sequence[str], numbers: Sequence[Sequence[float]], colours: Sequence[int]
) -> Chart:
    value, low, high = ([finite(number) for number in column] for column in zip(*numbers, strict=True))
    axis = spanning([0.0, *value, *low, *high])
    count = len(names)
    return Chart(
        title=title,
        x=axis,
        y=categories(names),
        marks=[
            Rule(0),
            *(
                Intervals([place], [value[place]], [low[place]], [high[place]], colour=colour)
                for place, colour in enumerate(colours)
            ),
        ],
        aspect=scores.rows_aspect(count),
        downwards=True,
        description=f"{title}: {note}, with intervals",
        name=f"{title}-{note}",
        notes=[note],
    )


def _training(runs: Mapping[str, Sequence[RunRecord]]) -> list[Block]:
    """Return each task's leading metric on the validation part, a colour an experiment."""
    tasks = {name: task for found in runs.values() for run in found for name, task in run.tasks.items()}
    charts = []
    for task, told in tasks.items():
        metric = scores.leading(str(told["kind"]))
        key = f"val/{task}/{metric}"
        marks: list[Mark] = []
        values: list[float | None] = []
        last = 1
        for number, (name, found) in enumerate(runs.items()):
            for run in found:
                line = [record.get(key) for record in run.history]
                if any(value is not None for value in line):
                    epochs = [record["epoch"] for record in run.history]
                    dashed = number // COLOURS % 2 == 1
                    marks.append(Line(epochs, line, name, number % COLOURS, dashed, faint=len(found) > 1))
                    values += line
                    last = max(last, *epochs)
        if marks:
            description = f"{TITLES[metric]} of {task} on the validation part over the epochs"
            y = spanning(values, TITLES[metric])
            charts.append(Chart(task, Axis(1, max(last, 2), "epoch", whole=True), y, marks, description))
    return [Charts(charts, "Validation part over the epochs")] if charts else []


def _settings(runs: Mapping[str, Sequence[RunRecord]]) -> list[Block]:
    """Return the keys of the experiments' files in which they differ."""
    flat = {name: dict(_flat(found[0].experiment)) for name, found in runs.items()}
    keys = dict.fromkeys(key for table in flat.values() for key in table)
    rows = []
    for key in keys:
        values = [table.get(key, "") for table in flat.values()]
        if key not in _IGNORED and len(set(values)) > 1:
            rows.append(
                [key, *(value if len(value) <= _LONG else f"{value[: _LONG - 1]}…" for value in values)]
            )
    columns = ["key", *flat]
    return [Table(columns, rows, texts=frozenset(range(len(columns))))] if rows else []


def _flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        elif isinstance(value, list) and value and all(isinstance(one, dict) for one in value):
            yield f"{prefix}{name}", ", ".join("; ".join(f"{k} {v}" for k, v in one.items()) for one in value)
        else:
            yield f"{prefix}{name}", str(value)


def _experiments(runs: Mapping[str, Sequence[RunRecord]]) -> Block:
    rows = []
    for name, found in runs.items():
        seconds = sum((run.results.get("durations") or {}).get("training") or 0 for run in found)
        parameters = found[0].results.get("parameters")
        rows.append(
            [
                name,
                str(found[0].experiment.get("description") or ""),
                plural(len(found), "run"),
                "" if parameters is None else f"{parameters:,}",
                duration(seconds),
                str(found[0].directory.parent if len(found) > 1 else found[0].directory),
            ]
        )
    columns = ["experiment", "what", "runs", "parameters", "training", "where"]
    return Table(columns, rows, texts=frozenset({0, 1, 5}))
